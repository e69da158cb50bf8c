//! The terminal's client: displays, input, cards, scene composition, links.
