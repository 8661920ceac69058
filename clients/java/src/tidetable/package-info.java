/**
 * A client of Tidetable, a key-value datastore for what batch jobs work out. Begin at {@link
 * tidetable.Tidetable}. Needs nothing but the JDK, 17 or newer.
 */
package tidetable;
