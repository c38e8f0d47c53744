//! Certificates made in the run, and peers of rustls' own that speak TLS by hand.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use _core::net::address::Address;
use _core::net::client::Target;
use _core::net::server::Server;
use _core::net::tls::{ClientSettings, Identity, Pem, ServerSettings, TlsAcceptor, TlsConnector};
use _core::wire::Codec;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Desk, House, PATIENCE, Setup, loopback};

/// A client of rustls' on a blocking socket.
pub(crate) type ByHand = StreamOwned<ClientConnection, TcpStream>;

fn pem(name: &str, text: &str) -> Pem {
    Pem {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    }
}

/// A CA, and what it signed: a server at loopback, and a client.
pub(crate) struct Secrets {
    ca: String,
    server: (String, String),
    client: (String, String),
}

impl Secrets {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a root");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let sign = |common_name: &str, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params
                .distinguished_name
                .push(DnType::CommonName, common_name);
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &issuer).unwrap();
            (signed.pem(), key.serialize_pem())
        };
        Self {
            server: sign("a server", &["localhost", "127.0.0.1"]),
            client: sign("ada", &["ada.example"]),
            ca,
        }
    }

    fn identity((cert, key): &(String, String)) -> Identity {
        Identity {
            cert: pem("cert", cert),
            key: Some(pem("key", key)),
        }
    }

    /// Of a server that wants to know who calls.
    pub(crate) fn server(&self) -> ServerSettings {
        ServerSettings {
            identity: Self::identity(&self.server),
            others: Vec::new(),
            client_ca: Some(pem("ca", &self.ca)),
            crl: None,
            requires_certificate: true,
            also_plain: false,
        }
    }

    pub(crate) fn client(&self) -> ClientSettings {
        ClientSettings {
            ca: pem("ca", &self.ca),
            crl: None,
            identity: Some(Self::identity(&self.client)),
            server_name: None,
        }
    }

    /// Where a channel to `address` leads.
    pub(crate) fn target(&self, address: &Address) -> Target {
        let connector = TlsConnector::new(&self.client(), address).unwrap();
        Target::Secure(address.clone(), connector)
    }

    /// What rustls' client takes.
    fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        let (cert, key) = &self.client;
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    fn session(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(self.config(), name).unwrap()
    }

    /// A client of rustls' that has shaken hands, whose bytes go out one by one if `split` says so.
    pub(crate) fn by_hand(&self, address: &Address, split: bool) -> ByHand {
        let mut socket = connect(address);
        let mut session = self.session();
        while session.is_handshaking() || session.wants_write() {
            if session.wants_write() {
                let mut flight = Vec::new();
                session.write_tls(&mut flight).unwrap();
                let most = if split { 1 } else { flight.len() };
                for bytes in flight.chunks(most) {
                    socket.write_all(bytes).unwrap();
                }
            } else {
                session.read_tls(&mut socket).unwrap();
                session.process_new_packets().unwrap();
            }
        }
        StreamOwned::new(session, socket)
    }

    /// The first bytes of a client.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        self.session().write_tls(&mut hello).unwrap();
        hello
    }
}

pub(crate) fn connect(address: &Address) -> TcpStream {
    let socket = TcpStream::connect(address.to_string()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// What comes until the peer ends its side or the connection.
pub(crate) fn rest(socket: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

/// A house with a server at a port that speaks TLS.
pub(crate) struct SecurePlace {
    pub(crate) house: House,
    pub(crate) server: Arc<Server>,
    pub(crate) address: Address,
    pub(crate) desk: Arc<Desk>,
    pub(crate) acceptor: Arc<TlsAcceptor>,
}

impl SecurePlace {
    pub(crate) fn new(codec: &Arc<dyn Codec>, settings: &ServerSettings) -> Self {
        Self::with(codec, settings, |_| {})
    }

    pub(crate) fn with(
        codec: &Arc<dyn Codec>,
        settings: &ServerSettings,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let house = House::new();
        let mut setup = Setup::of(codec);
        change(&mut setup);
        let listener = house.listen(&loopback()).unwrap();
        let address = listener.address().clone();
        let (server, desk) = house.desk(setup);
        let acceptor = TlsAcceptor::new(settings).unwrap();
        let handle = house.runtime().handle();
        server.listen_tls(&handle, listener, Arc::clone(&acceptor));
        Self {
            house,
            server,
            address,
            desk,
            acceptor,
        }
    }
}
