//! Work that may wait for a disk leaves the thread that serves connections, and work that was
//! begun does not end with the connection that asked for it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use tidetable_storage::give_way;
use tokio::sync::oneshot;
use tokio::task::JoinError;

use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;
use crate::threads::no_thread;

/// Runs `work` on a thread for blocking work. It runs to its end even if the client goes
/// away meanwhile: an activation is never half asked for.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// Runs `work`, which waits for the disk to answer a read, on another thread, unless too many
/// such reads wait already.
pub(crate) async fn cold<T: Send + 'static>(
    app: &AppState,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let permit = app.limiter.cold()?;
    blocking(move || {
        // As long as the work, and not only as long as somebody waits for it.
        let _permit = permit;
        work()
    })
    .await
}

/// Runs `work` to its end even if the client goes away meanwhile, which drops the handler
/// that waits for it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Answer<T>> + Send + 'static,
) -> Answer<T> {
    joined(tokio::spawn(work).await)
}

/// What a thread of its own will have given.
pub(crate) type Aside<T> = oneshot::Receiver<thread::Result<T>>;

/// Runs `work`, which takes long, on a thread of its own: one that gives way to lookups, if
/// pushes do.
pub(crate) fn aside<T: Send + 'static>(
    app: &AppState,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<Aside<T>> {
    let (done, gives) = oneshot::channel();
    let gives_way = app.config.pushes_give_way.0;
    let run = move || {
        if gives_way {
            give_way();
        }
        // Nobody waits for it any more if the client has gone.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(no_thread)?;
    Ok(gives)
}

/// What a thread of its own gave; if it panicked, so does this.
pub(crate) async fn ended<T>(thread: Aside<T>) -> T {
    let gave = thread.await.expect("the thread sends what it gives, even if it panics");
    gave.unwrap_or_else(|panic| resume_unwind(panic))
}

fn joined<T>(ended: Result<Answer<T>, JoinError>) -> Answer<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        // The edge turns a panic into a 500, wherever it was.
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => Err(Problem::new(Fault::Draining, "the server is stopping: ask again")),
    }
}
