//! What both ends of a TLS channel know of it, and nobody between two channels.

/// Channel binding data by type; none where there is no TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266): 32 bytes that TLS 1.3 exports.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): a hash of the server's certificate.
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBinding {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// The data of a registered type.
    pub fn data(&self, kind: &str) -> Option<&[u8]> {
        match kind {
            "tls-exporter" => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            "tls-server-end-point" => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}
