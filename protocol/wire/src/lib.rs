//! The messages of the control link and the session link: types, limits, versions.
