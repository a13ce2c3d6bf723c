//! RFC 5322 and MIME over byte ranges: parts, ENVELOPE, BODYSTRUCTURE
