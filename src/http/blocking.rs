//! Work that may wait for a disk leaves the thread that serves connections, and work that was
//! begun does not end with the connection that asked for it.

use tokio::task::JoinError;

use super::error::{Answer, Fault, Problem};

/// Runs `work` on a thread for blocking work. It runs to its end even if the client goes
/// away meanwhile: an activation is never half asked for.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// Runs `work` to its end even if the client goes away meanwhile, which drops the handler
/// that waits for it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Answer<T>> + Send + 'static,
) -> Answer<T> {
    joined(tokio::spawn(work).await)
}

fn joined<T>(ended: Result<Answer<T>, JoinError>) -> Answer<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        // The edge turns a panic into a 500, wherever it was.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Problem::new(Fault::Draining, "the server is stopping: ask again")),
    }
}
