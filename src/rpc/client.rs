//! The RPC client calls a running node over HTTP, or methods that this process serves itself.

use std::{fmt, net::SocketAddr, time::Duration};

use futures::future::BoxFuture;
use jsonrpsee::{
    core::{
        client::{BatchResponse, ClientT, Error as ClientError},
        middleware::RpcServiceBuilder,
        params::BatchRequestBuilder,
        traits::ToRpcParams,
    },
    server::Methods,
    types::{Response, ResponsePayload},
};
use jsonrpsee_http_client::{HeaderMap, HeaderValue, HttpClient, HttpClientBuilder, RpcService};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{RpcError, server::MAX_RESPONSE_BYTES};

/// The longest wait for a reply, 1 year: in effect no limit, since some commands run for hours. A
/// node that dies closes the connection, which ends the wait.
const REQUEST_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// The longest wait for a connection. On loopback it is accepted or refused almost at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a node. Both variants support every method of `FriendchainApiClient`.
#[derive(Clone)]
pub(crate) enum Client {
    /// A node in another process.
    Http(HttpClient<RpcService<jsonrpsee_http_client::HttpBackend>>),
    /// A node or an opened data folder in this process.
    Local(Methods),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived output would contain the HTTP client's token.
        f.write_str(if self.is_local() { "Client::Local" } else { "Client::Http" })
    }
}

impl Client {
    /// Returns a client for the node at a loopback address. Connects at the first request.
    ///
    /// # Errors
    ///
    /// `bad_token` if the token cannot be part of an HTTP header.
    pub(crate) fn http(address: SocketAddr, token: &str) -> Result<Self, RpcError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            RpcError::new(
                "bad_token",
                "the RPC token holds characters that it may not: restart the node",
            )
        })?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value);
        let client = HttpClientBuilder::default()
            .set_rpc_middleware(RpcServiceBuilder::new())
            .set_headers(headers)
            .max_response_size(MAX_RESPONSE_BYTES)
            .request_timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build(format!("http://{address}"))?;
        Ok(Self::Http(client))
    }

    /// Returns a client for methods in this process.
    pub(crate) fn local(methods: impl Into<Methods>) -> Self {
        Self::Local(methods.into())
    }

    /// Returns true if the methods are served in this process.
    #[must_use]
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

/// A JSON-RPC request, ready to serialize.
#[derive(Serialize)]
struct Envelope<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Box<RawValue>>,
}

/// Parameters that are already serialized.
struct Written(Option<Box<RawValue>>);

impl ToRpcParams for Written {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

async fn call_local(
    methods: &Methods,
    method: &str,
    params: Option<Box<RawValue>>,
) -> Result<Box<RawValue>, ClientError> {
    let envelope = Envelope { jsonrpc: "2.0", id: 0, method, params };
    let request = serde_json::to_string(&envelope)?;
    let (answer, _) = methods.raw_json_request(&request, 1).await?;
    let response: Response<'_, Box<RawValue>> = serde_json::from_str(answer.get())?;
    match response.payload {
        ResponsePayload::Success(result) => Ok(result.into_owned()),
        ResponsePayload::Error(error) => Err(ClientError::Call(error.into_owned())),
    }
}

impl Client {
    /// Makes one call, with parameters and reply as JSON. The future is boxed so that the HTTP code
    /// is compiled once instead of once for each method's types.
    fn call<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> BoxFuture<'a, Result<Box<RawValue>, ClientError>> {
        match self {
            Self::Http(client) => Box::pin(client.request(method, Written(params))),
            Self::Local(methods) => Box::pin(call_local(methods, method, params)),
        }
    }
}

impl ClientT for Client {
    async fn notification<Params>(&self, method: &str, params: Params) -> Result<(), ClientError>
    where
        Params: ToRpcParams + Send,
    {
        self.call(method, params.to_rpc_params()?).await.map(|_| ())
    }

    async fn request<R, Params>(&self, method: &str, params: Params) -> Result<R, ClientError>
    where
        R: DeserializeOwned,
        Params: ToRpcParams + Send,
    {
        let result = self.call(method, params.to_rpc_params()?).await?;
        Ok(serde_json::from_str(result.get())?)
    }

    async fn batch_request<'a, R>(
        &self,
        _batch: BatchRequestBuilder<'a>,
    ) -> Result<BatchResponse<'a, R>, ClientError>
    where
        R: DeserializeOwned + fmt::Debug + 'a,
    {
        Err(ClientError::Custom("commands are asked one at a time".to_owned()))
    }
}
