//! Connections to stores: TLS as everywhere in this program, no redirects, no answer that could fill
//! our memory, and none of which other bytes could be the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// The same where a machine asks for its own credentials: nobody may be there.
const CONNECT_TO_METADATA: Duration = Duration::from_secs(1);
/// How long the next bytes may take.
pub(super) const STALLED: Duration = Duration::from_secs(20);
/// A page of a list: a thousand names of 1,024 bytes, each written as `&amp;` at worst.
const MAX_LIST_BYTES: usize = 16 << 20;
/// An error, or a token.
const MAX_OTHER_BYTES: usize = 256 << 10;

/// Makes connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector {
    /// To this machine itself: no proxy of the environment is asked for that.
    pub(super) local: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let asks_itself = {
            let of_metadata = ClientOptions::new().with_connect_timeout(CONNECT_TO_METADATA);
            let key = ClientConfigKey::ConnectTimeout;
            options.get_config_value(&key) == of_metadata.get_config_value(&key)
        };
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tidetable/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .https_only(allows_http.as_deref() != Some("true"))
            .connect_timeout(if asks_itself { CONNECT_TO_METADATA } else { CONNECT })
            .read_timeout(STALLED)
            .tls_backend_preconfigured(tls());
        if self.local || asks_itself {
            builder = builder.no_proxy();
        }
        let failed = |source| object_store::Error::Generic { store: "HTTP", source };
        let client = builder.build().map_err(|error| failed(Box::new(error.without_url())))?;
        Ok(HttpClient::new(Bounded(HttpClient::new(client))))
    }
}

/// With ring, like everything else here, and the certificates that the system trusts. Without any
/// there is no secure connection, and the handshake says so.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for the versions of TLS that rustls has")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client whose answers are bounded, but for the bytes of objects, which whoever reads them
/// counts.
#[derive(Debug)]
struct Bounded(HttpClient);

impl HttpService for Bounded {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let query = request.uri().query().unwrap_or_default();
        let lists = query.contains("list-type=") || query.contains("comp=list");
        let gets = request.method() == http::Method::GET;
        Box::pin(async move {
            let (head, body) = self.0.execute(request).await?.into_parts();
            let most = match (head.status.is_success(), lists) {
                (true, true) => MAX_LIST_BYTES,
                (true, false) if gets && is_weak(&head) => {
                    let body = HttpResponseBody::new(Ending(body));
                    return Ok(HttpResponse::from_parts(head, body));
                }
                (true, false) if gets => return Ok(HttpResponse::from_parts(head, body)),
                _ => MAX_OTHER_BYTES,
            };
            let limited = Limited::new(body, most)
                .map_err(|error| HttpError::new_boxed(HttpErrorKind::Decode, error));
            Ok(HttpResponse::from_parts(head, HttpResponseBody::new(limited)))
        })
    }
}

fn is_weak(head: &http::response::Parts) -> bool {
    head.headers.get(http::header::ETAG).is_some_and(|etag| etag.as_bytes().starts_with(b"W/"))
}

/// A body that ends where it breaks off. What breaks off is asked for from there on by
/// `object_store`, whatever its ETag is, and under a weak one that may be the end of other bytes.
/// Of what ends, [`super::reader`] knows how long it should be.
struct Ending(HttpResponseBody);

impl Body for Ending {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let next = Pin::new(&mut self.get_mut().0).poll_frame(context);
        next.map(|frame| frame.filter(Result::is_ok))
    }
}
