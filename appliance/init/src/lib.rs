//! The terminal as PID 1: facts, plan, supervision.
