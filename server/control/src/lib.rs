//! Types shared by broker, session and heliostatctl over Unix sockets.
