//! librdkafka behind the batch-level seam `logdrive_core::batch::Sink`.
