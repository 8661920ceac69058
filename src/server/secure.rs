//! The stream of a connection: a socket as it is, or one that speaks TLS.
//!
//! Everything above is written once for both and compiled for each, so that a connection
//! without TLS runs no instruction that is there for those with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// What requests come on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What was written may be still to be sent, and has to be flushed.
    const HOLDS_BACK: bool;
}

impl Stream for TcpStream {
    const HOLDS_BACK: bool = false;
}

impl Stream for Secure {
    const HOLDS_BACK: bool = true;
}

/// A connection after its TLS handshake.
pub(super) struct Secure(TlsStream<TcpStream>);

impl Secure {
    /// Makes the handshake, with the certificate that holds now.
    pub(super) async fn accept(tls: &Tls, stream: TcpStream) -> io::Result<Self> {
        Ok(Self(tls.acceptor().accept(stream).await?))
    }
}

impl Drop for Secure {
    /// Says goodbye if the socket takes it, so that the client can tell an end from a cut. It was
    /// said already if the stream was shut down.
    fn drop(&mut self) {
        let (socket, session) = self.0.get_mut();
        session.send_close_notify();
        while session.wants_write() {
            if !matches!(session.write_tls(&mut Now(socket)), Ok(1..)) {
                break;
            }
        }
    }
}

/// Writes what the socket takes at once.
struct Now<'a>(&'a TcpStream);

impl io::Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
