//! The channel binding `tls-server-end-point` (RFC 5929 §4.1): the certificate hashed with the hash function of its own
//! signature, or with SHA-256 where that is MD5 or SHA-1.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A DER tag.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;

/// 1.2.840.113549.1.1: RSA's signatures.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: ECDSA's.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2: the SHA-2 functions.
const SHA_2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// A hash function that a signature uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The binding's data. `None` where the certificate is signed with no hash function of its own (Ed25519) or with one
/// that is not known here: then the binding is not defined.
pub(super) fn of(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(match hash_of(certificate)? {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280 §4.1).
fn hash_of(certificate: &[u8]) -> Option<Hash> {
    let mut certificate = Der(certificate).expect(SEQUENCE)?;
    certificate.expect(SEQUENCE)?;
    let mut algorithm = certificate.expect(SEQUENCE)?;
    match algorithm.expect(OBJECT_IDENTIFIER)?.0 {
        [rest @ .., kind] if rest == RSA => match kind {
            // MD5 and SHA-1 are replaced; 11 is SHA-256.
            4 | 5 | 11 => Some(Hash::Sha256),
            12 => Some(Hash::Sha384),
            13 => Some(Hash::Sha512),
            10 => hash_of_pss(&mut algorithm),
            _ => None,
        },
        [rest @ .., 1] if rest == ECDSA => Some(Hash::Sha256),
        [rest @ .., 3, kind] if rest == ECDSA => match kind {
            2 => Some(Hash::Sha256),
            3 => Some(Hash::Sha384),
            4 => Some(Hash::Sha512),
            _ => None,
        },
        _ => None,
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1); SHA-1 where they name no hash.
fn hash_of_pss(algorithm: &mut Der<'_>) -> Option<Hash> {
    let mut parameters = algorithm.expect(SEQUENCE)?;
    let Some(mut hash) = parameters.expect(CONTEXT_0) else { return Some(Hash::Sha256) };
    match hash.expect(SEQUENCE)?.expect(OBJECT_IDENTIFIER)?.0 {
        [rest @ .., kind] if rest == SHA_2 => match kind {
            1 => Some(Hash::Sha256),
            2 => Some(Hash::Sha384),
            3 => Some(Hash::Sha512),
            _ => None,
        },
        _ => None,
    }
}

/// DER that is yet to be read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next value off, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        let (&[found, first], rest) = self.0.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(Der(value))
    }
}
