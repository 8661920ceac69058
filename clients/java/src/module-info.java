/** A client of Tidetable that needs nothing but the JDK. */
module tidetable {
    requires transitive java.net.http;

    exports tidetable;
}
