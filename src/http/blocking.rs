//! Work that may wait for a disk leaves the thread that serves connections.

use super::error::Answer;

/// Runs `work` on a thread for blocking work. It runs to its end even if the client goes
/// away meanwhile: an activation is never half asked for.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The edge turns a panic into a 500, wherever it was.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
