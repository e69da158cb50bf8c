//! QUIC endpoints of both links: identities, pins, streams, framing.
