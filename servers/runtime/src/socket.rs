//! The sockets that listeners are made of: TCP and unix, bound here or handed over by whoever started the program.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net as std_unix,
    },
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Where a listener is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// An address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The file's mode; `None` leaves it to the umask.
        mode: Option<u32>,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// A socket that is bound and listens.
#[derive(Debug)]
pub enum BoundSocket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix; the file is removed with it if it was made here.
    Unix(UnixListener, Option<SocketFile>),
}

/// A socket's file, removed when dropped unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// By TCP.
    Tcp(SocketAddr),
    /// By a unix socket: somebody on this host.
    Local,
}

/// An accepted connection.
#[derive(Debug)]
pub enum Socket {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl BoundSocket {
    /// Binds. A unix socket's file that nobody listens on any more is replaced; where somebody does, the address is in
    /// use. A wildcard of IPv6 does not take IPv4 along. To be called within the async runtime.
    pub fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            ListenAddress::Unix { path, mode } => {
                let (listener, file) = bind_unix(path, *mode)?;
                Ok(Self::Unix(listener, Some(file)))
            }
        }
    }

    /// Takes over a TCP socket that listens already.
    pub fn adopt_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::Tcp)
    }

    /// Takes over a unix socket that listens already; its file belongs to whoever made it.
    pub fn adopt_unix(listener: std_unix::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(listener)?, None))
    }

    /// Where it is, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, Some(file)) => Ok(ListenAddress::Unix { path: file.path.clone(), mode: None }),
            Self::Unix(listener, None) => {
                let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
                Ok(ListenAddress::Unix { path, mode: None })
            }
        }
    }

    /// The next connection, and who it is from. May be dropped; nothing is lost.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only for a connection that is gone already; the session will notice.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Peer::Tcp(peer)))
            }
            Self::Unix(listener, _) => Ok((Socket::Unix(listener.accept().await?.0), Peer::Local)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds beside the path and moves the file there, so that nobody ever finds it with another mode.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) if std_unix::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Left by a process that had this number and was killed.
    let _ = fs::remove_file(&beside);
    let listener = std_unix::UnixListener::bind(&beside)?;
    let placed = (|| {
        if let Some(mode) = mode {
            fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
        }
        let inode = fs::symlink_metadata(&beside)?.ino();
        fs::rename(&beside, path)?;
        Ok(SocketFile { path: path.to_owned(), inode })
    })();
    let file = placed.inspect_err(|_: &io::Error| drop(fs::remove_file(&beside)))?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            // A file that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Peer {
    /// The address, where there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Local => None,
        }
    }

    /// The IP address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address().map(|address| address.ip())
    }

    /// Whether what it sends does not leave this host.
    pub fn is_on_this_host(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Local => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}

impl Socket {
    /// The address that the client connected to, where there is one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        Poll::Ready(ready!(shut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("culver-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
        let folder = folder("sockets");
        let path = folder.join("lmtp");
        let address = ListenAddress::Unix { path: path.clone(), mode: Some(0o660) };
        drop(std_unix::UnixListener::bind(&path).unwrap());
        let bound = BoundSocket::bind(&address).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(BoundSocket::bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        drop(bound);
        assert!(!path.exists(), "the file goes with the listener");

        fs::write(&path, "mail").unwrap();
        assert_eq!(BoundSocket::bind(&address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mail", "a file that is no socket is never removed");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn both_families_can_have_one_port() {
        let v6 = ListenAddress::Tcp("[::]:0".parse().unwrap());
        // Hosts without IPv6 have nothing to show here.
        let Ok(v6) = BoundSocket::bind(&v6) else { return };
        let ListenAddress::Tcp(address) = v6.local_addr().unwrap() else { panic!("TCP") };
        let v4 = ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0], address.port())));
        BoundSocket::bind(&v4).unwrap();
    }

    #[test]
    fn mapped_loopback_is_loopback() {
        for (address, expected) in [("127.0.0.1:1", true), ("[::ffff:127.0.0.1]:1", true), ("192.0.2.1:1", false)] {
            assert_eq!(Peer::Tcp(address.parse().unwrap()).is_on_this_host(), expected);
        }
        assert!(Peer::Local.is_on_this_host());
    }
}
