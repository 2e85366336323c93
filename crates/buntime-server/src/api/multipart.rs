//! Bodies that bring files: `multipart/form-data`, streamed.
//!
//! ```text
//! let mut form = Form::of(&mut call.request, &LIMITS)?;
//! while let Some(part) = form.part().await? {       // PartHead { name, file_name }
//!     match part.name.as_str() {
//!         "path" => path = form.text(4096).await?,  // a short field
//!         "file" => while let Some(piece) = form.data().await? { … },
//!         _ => {}                                   // passed over by the next `part`
//!     }
//! }
//! ```
//!
//! Nothing is kept in memory but a few kilobytes. A file's pieces are at most as large
//! as what the edge hands over at a time; write them where blocking is allowed. The
//! form is whole only once `part` has said `None`: change nothing before.

use buntime_http::{BodyError, BodySource, FormError, FormEvent, FormParser, Frame, HeaderId};
use buntime_http::{HeaderList, PartHead};
use bytes::Bytes;

use super::call::body_failed;
use super::errors::sentence;
use crate::failure::Failure;
use crate::message::Request;
use crate::service::Answer;

/// How much a form may bring.
#[derive(Debug)]
pub(crate) struct FormLimits {
    /// Most bytes of the whole body.
    pub(crate) bytes: u64,
    /// Most parts.
    pub(crate) parts: usize,
    /// What a client is told whose body or whose number of parts is over the limit.
    pub(crate) too_large: Failure,
}

/// A form, part by part.
pub(crate) struct Form<'a> {
    body: &'a mut dyn BodySource,
    parser: FormParser,
    limits: &'a FormLimits,
    /// Whether a part has begun and not ended.
    in_part: bool,
}

impl<'a> Form<'a> {
    /// Begins to read the body of a request.
    ///
    /// # Errors
    /// 400 `INVALID_MULTIPART_FORM` if it is no form, the failure of the limits if it
    /// announces too much.
    pub(crate) fn of(request: &'a mut Request, limits: &'a FormLimits) -> Result<Self, Failure> {
        let content_type =
            content_type(&request.headers).ok_or_else(|| no_form(FormError::ContentType))?;
        let parser = FormParser::new(content_type, limits.parts).map_err(no_form)?;
        let body = &mut *request.body;
        if body
            .content_length()
            .is_some_and(|length| length > limits.bytes)
        {
            return Err(limits.too_large.clone().closing());
        }
        body.set_limit(limits.bytes);
        Ok(Self {
            body,
            parser,
            limits,
            in_part: false,
        })
    }

    /// The next part; `None` at the end of a whole form. What is left of the part
    /// before is passed over.
    ///
    /// # Errors
    /// As [`Form::of`], or the client went away or was too slow.
    pub(crate) async fn part(&mut self) -> Result<Option<PartHead>, Answer> {
        while self.data().await?.is_some() {}
        match self.event().await? {
            FormEvent::Part(head) => {
                self.in_part = true;
                Ok(Some(head))
            }
            FormEvent::End => self.drain().await,
            // Only inside a part, which has ended.
            FormEvent::Data(_) | FormEvent::PartEnd => Err(no_form(FormError::Boundary).into()),
        }
    }

    /// The next piece of the part; `None` at its end.
    ///
    /// # Errors
    /// As [`Form::part`].
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, Answer> {
        if !self.in_part {
            return Ok(None);
        }
        match self.event().await? {
            FormEvent::Data(data) => Ok(Some(data)),
            _ => {
                self.in_part = false;
                Ok(None)
            }
        }
    }

    /// The rest of the part as text, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Form::part`]; 400 `INVALID_MULTIPART_FORM` if it is longer or no UTF-8.
    pub(crate) async fn text(&mut self, limit: usize) -> Result<String, Answer> {
        let mut text = Vec::new();
        while let Some(data) = self.data().await? {
            if text.len() + data.len() > limit {
                return Err(bad_field("A field of the form is too long.").into());
            }
            text.extend_from_slice(&data);
        }
        let no_text = |_| bad_field("A field of the form is no text in UTF-8.").into();
        String::from_utf8(text).map_err(no_text)
    }

    async fn event(&mut self) -> Result<FormEvent, Answer> {
        loop {
            if let Some(event) = self.parser.event().map_err(|error| self.refused(error))? {
                return Ok(event);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Frame::Data(data) = frame.map_err(|error| self.failed(error))? {
                        self.parser.feed(&data);
                    }
                }
                None => {
                    // Without an error there would be an event.
                    let error = self.parser.finish().err().unwrap_or(FormError::Incomplete);
                    return Err(self.refused(error).into());
                }
            }
        }
    }

    /// Takes what follows the last boundary, so that the connection can go on.
    async fn drain(&mut self) -> Result<Option<PartHead>, Answer> {
        while let Some(frame) = self.body.frame().await {
            frame.map_err(|error| self.failed(error))?;
        }
        Ok(None)
    }

    fn refused(&self, error: FormError) -> Failure {
        match error {
            FormError::TooManyParts { .. } => self.limits.too_large.clone().closing(),
            error => no_form(error),
        }
    }

    fn failed(&self, error: BodyError) -> Answer {
        match error {
            BodyError::TooLarge => self.limits.too_large.clone().closing().into(),
            error => body_failed(error),
        }
    }
}

fn content_type(headers: &HeaderList) -> Option<&[u8]> {
    let mut types = headers.get_all(HeaderId::ContentType);
    types.next().filter(|_| types.next().is_none())
}

fn no_form(error: FormError) -> Failure {
    bad_field("").saying(sentence(&error))
}

fn bad_field(message: &'static str) -> Failure {
    Failure::new(400, "INVALID_MULTIPART_FORM", message).closing()
}
