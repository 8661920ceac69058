//! A client of HTTP/2 without TLS, as one that knows beforehand that the server speaks it. Its
//! frames are hyper's, which the server's are too: what it is for is what the requests mean.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::http::Reply;

/// One client with one connection, which lives as long as it does.
pub(crate) struct Http2 {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    runtime: Runtime,
}

impl Http2 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (executor, stream) = (TokioExecutor::new(), TokioIo::new(stream));
            let shaken = handshake::<_, _, Full<Bytes>>(executor, stream).await;
            let (sender, connection) = shaken.unwrap();
            // It ends with the client; a request in it then fails, which its sender sees.
            tokio::spawn(async move { drop(connection.await) });
            sender
        });
        Self { address, sender, runtime }
    }

    /// One request and its whole answer.
    #[track_caller]
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let what = format!("{method} {path} over HTTP/2");
        let sending = self.sender.send_request(request);
        let answer = self.runtime.block_on(async {
            let (head, body) = sending.await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        });
        let (head, body) = answer.unwrap_or_else(|e| panic!("{what} got no answer: {e:?}"));
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let headers = head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        Reply { request: what, status: head.status.as_u16(), headers, body: body.to_vec() }
    }
}
