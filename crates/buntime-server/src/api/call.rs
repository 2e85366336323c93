//! A request to the API as its handler sees it.

use std::net::IpAddr;

use buntime_http::{BodyError, Frame};
use bytes::{Bytes, BytesMut};

use super::json::{self, Body, Fields};
use super::note::Note;
use super::query::Query;
use super::route::Params;
use crate::failure::Failure;
use crate::message::Request;
use crate::service::Answer;

/// Largest JSON body (contract section 7).
pub(crate) const JSON_MAX: u64 = 1 << 20;

/// A request with what the route made of it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) params: Params,
    /// What the audit log will say of it; handlers add what they learn.
    pub(crate) note: Note,
    /// Who asks, as far as trusted proxies tell.
    pub(crate) address: IpAddr,
}

impl Call {
    pub(super) fn new(request: Request, params: Params, note: Note, address: IpAddr) -> Self {
        Self {
            request,
            params,
            note,
            address,
        }
    }

    /// What the query says.
    ///
    /// # Errors
    /// 400 where it is no text, or says a thing twice.
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        Query::parse(self.request.target.query().unwrap_or_default())
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// As [`Call::fields`], and 400 for what is not this JSON, naming the field.
    pub(crate) async fn json<T: Body>(&mut self) -> Result<T, Answer> {
        let mut fields = self.fields().await?;
        let body = T::read(&mut fields)?;
        fields.nothing_else()?;
        Ok(body)
    }

    /// The body's fields, for a route that gives each its own code.
    ///
    /// # Errors
    /// 413 over 1 MB, 415 for what a form of another site could send, 400 for what is no
    /// JSON object.
    pub(crate) async fn fields(&mut self) -> Result<Fields, Answer> {
        json::check_type(&self.request.headers)?;
        let bytes = self.bytes(JSON_MAX).await?;
        Ok(json::parse(&bytes)?)
    }

    /// As [`Call::fields`], for a route that takes no body too. An empty one is none, however
    /// its end is told.
    ///
    /// # Errors
    /// As [`Call::fields`].
    pub(crate) async fn fields_if_any(&mut self) -> Result<Fields, Answer> {
        if self.request.body.is_end() {
            return Ok(Fields::default());
        }
        json::check_type(&self.request.headers)?;
        let bytes = self.bytes(JSON_MAX).await?;
        match bytes.is_empty() {
            true => Ok(Fields::default()),
            false => Ok(json::parse(&bytes)?),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 over `limit`, 400 and 408 for what does not arrive whole.
    pub(crate) async fn bytes(&mut self, limit: u64) -> Result<Bytes, Answer> {
        let body = &mut self.request.body;
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(Failure::PAYLOAD_TOO_LARGE.into());
        }
        body.set_limit(limit);
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Frame::Data(data) = frame.map_err(body_failed)? {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes.freeze())
    }
}

/// What stands for the scope of units that have none.
pub(super) const UNSCOPED: &str = "_";

/// What a client is told whose body does not arrive.
pub(crate) fn body_failed(error: BodyError) -> Answer {
    match error {
        BodyError::Gone => Answer::Aborted,
        BodyError::TooLarge => Failure::PAYLOAD_TOO_LARGE.into(),
        BodyError::TooSlow => Failure::new(
            408,
            "REQUEST_TIMEOUT",
            "The request body arrived too slowly.",
        )
        .closing()
        .into(),
        BodyError::Framing => Failure::new(400, "BAD_REQUEST", "The request body is malformed.")
            .closing()
            .into(),
    }
}
