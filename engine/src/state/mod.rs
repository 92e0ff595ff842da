//! What survives the process: acknowledged positions and identities.
