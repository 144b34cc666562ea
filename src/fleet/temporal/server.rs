//! The connection to a server.

use std::{path::PathBuf, time::Duration};

use temporalio_client::{
    Client, ClientOptions, ClientTlsOptions, Connection, ConnectionOptions, RetryOptions, TlsOptions,
};

use super::FleetError;
use crate::error::with_causes;

/// Where the server is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `http://host:7233`, or `https://..` for TLS.
    pub url: String,
    /// The namespace, which says who may submit and who may work.
    pub namespace: String,
    /// TLS: the certificate authority of the server (PEM), if it is none that the system trusts.
    pub ca: Option<PathBuf>,
    /// TLS: this client's certificate and its key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// TLS: the name in the server's certificate, where the URL has another one.
    pub server_name: Option<String>,
    /// A key that the server asks for, sent with each call.
    pub api_key: Option<String>,
}

impl Server {
    /// A server at `url` with the namespace `default`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "default".into(),
            ca: None,
            identity: None,
            server_name: None,
            api_key: None,
        }
    }

    /// Connects, as `name`. `patient` ones try each call until it comes through, and others for ten seconds.
    pub(super) async fn connect(&self, name: &str, patient: bool) -> Result<Client, FleetError> {
        let failed = |reason: String| FleetError::Server { url: self.url.clone(), reason };
        let url = url::Url::parse(&self.url).map_err(|error| failed(error.to_string()))?;
        let mut retry = RetryOptions::default();
        if patient {
            // a result that is not delivered within the default's ten seconds would be lost
            (retry.max_elapsed_time, retry.max_retries, retry.max_interval) = (None, 0, Duration::from_secs(1));
        }
        let options = ConnectionOptions::new(url.clone())
            .identity(name)
            .retry_options(retry)
            .connect_timeout(Duration::from_secs(5))
            .maybe_tls_options(self.tls(url.scheme() == "https")?)
            .maybe_api_key(self.api_key.clone())
            .build();
        let connection = Connection::connect(options).await.map_err(|error| failed(with_causes(&error)))?;
        Client::new(connection, ClientOptions::new(self.namespace.clone()).build())
            .map_err(|error| failed(with_causes(&error)))
    }

    fn tls(&self, wanted: bool) -> Result<Option<TlsOptions>, FleetError> {
        let named = self.ca.is_some() || self.identity.is_some() || self.server_name.is_some();
        if !wanted {
            return match named || self.api_key.is_some() {
                true => Err(FleetError::Usage(format!("{} is without TLS: name an https:// server", self.url))),
                false => Ok(None),
            };
        }
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| FleetError::Usage(format!("cannot read {}: {error}", path.display())))
        };
        let mut tls = TlsOptions::default();
        tls.server_root_ca_cert = self.ca.as_ref().map(read).transpose()?;
        tls.domain = self.server_name.clone();
        if let Some((certificate, key)) = &self.identity {
            let client = ClientTlsOptions::builder().client_cert(read(certificate)?).client_private_key(read(key)?);
            tls.client_tls_options = Some(client.build());
        }
        Ok(Some(tls))
    }
}
