//! A proxy whose rules, DNS and network are the test's, and servers that tell what reached them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use network::{Access, Rules, Target, Verdict};
use proxy::{Gate, GateClosed, Limits, Outside, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A public address that is nobody's business.
pub const PUBLIC: &str = "93.184.215.14";

/// What was asked of the gate: `target [addresses] verdict`.
pub type Attempts = Arc<Mutex<Vec<String>>>;

pub struct Judge {
    pub rules: Rules,
    pub attempts: Attempts,
    pub is_closed: bool,
}

#[async_trait]
impl Gate for Judge {
    async fn judge(&self, target: &Target) -> Result<Verdict, GateClosed> {
        Ok(self.rules.check(target, &[]))
    }

    async fn admit(&self, target: &Target, addresses: &[IpAddr]) -> Result<Verdict, GateClosed> {
        if self.is_closed {
            return Err(GateClosed("the database is gone".into()));
        }
        let verdict = self.rules.check(target, addresses);
        self.attempts.lock().unwrap().push(format!("{target} {addresses:?} {}", verdict.access));
        Ok(verdict)
    }
}

/// A DNS whose answers are said beforehand, one after the other, and a network in which servers are where it says.
#[derive(Default)]
pub struct Made {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    places: Mutex<HashMap<SocketAddr, SocketAddr>>,
    /// What was done: `resolve NAME`, `connect ADDRESS`.
    pub deeds: Mutex<Vec<String>>,
}

impl Made {
    /// The next time, the name has these addresses.
    pub fn answer(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.into()).or_default().push(addresses);
    }

    /// What listens at `there` is seen at `here`.
    pub fn place(&self, here: &str, there: SocketAddr) {
        self.places.lock().unwrap().insert(here.parse().unwrap(), there);
    }

    pub fn deeds(&self) -> Vec<String> {
        self.deeds.lock().unwrap().clone()
    }
}

#[async_trait]
impl Outside for Made {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.deeds.lock().unwrap().push(format!("resolve {name}"));
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name).filter(|answers| !answers.is_empty());
        answers.map(|answers| answers.remove(0)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.deeds.lock().unwrap().push(format!("connect {address}"));
        let place = self.places.lock().unwrap().get(&address).copied();
        TcpStream::connect(place.ok_or(io::ErrorKind::ConnectionRefused)?).await
    }
}

/// A running proxy.
pub struct World {
    pub outside: Arc<Made>,
    pub attempts: Attempts,
    address: SocketAddr,
}

impl World {
    pub async fn start(allow: &[&str], deny: &[&str]) -> Self {
        Self::with(allow, deny, Limits::default(), false).await
    }

    pub async fn with(allow: &[&str], deny: &[&str], limits: Limits, is_closed: bool) -> Self {
        let rules = Rules::parse(allow, deny, Access::Deny).unwrap();
        let (attempts, outside) = (Attempts::default(), Arc::new(Made::default()));
        let gate = Judge { rules, attempts: attempts.clone(), is_closed };
        let proxy = Arc::new(Proxy::new(Arc::new(gate), outside.clone(), limits));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(proxy.serve(listener));
        Self { outside, attempts, address }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes, and reads all that comes until the proxy closes.
    pub async fn send(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub fn attempts(&self) -> Vec<String> {
        self.attempts.lock().unwrap().clone()
    }
}

/// The head of what comes, up to its blank line.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server that answers one request a connection with `answer`, and keeps all that reached it.
pub async fn server(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reached = Arc::new(Mutex::new(vec![]));
    let kept = reached.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut all = head(&mut stream).await;
                let lower = all.to_lowercase();
                if lower.contains("transfer-encoding: chunked") {
                    while !all.ends_with("0\r\n\r\n") {
                        all.push(char::from(stream.read_u8().await.unwrap()));
                    }
                } else if let Some(length) = lower.split("content-length: ").nth(1) {
                    let length = length.lines().next().unwrap().parse().unwrap();
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    all.push_str(&String::from_utf8(body).unwrap());
                }
                kept.lock().unwrap().push(all);
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (address, reached)
}
