//! Tokens: made and revoked by one record each, like everything else that is to last.

use crate::error::Result;
use crate::event::Cause;
use crate::token::{NewToken, Token, TokenId};

use super::{Store, now};

impl Store {
    /// Makes a token; from the answer on it is in the catalogue, and in the journal.
    pub fn create_token(&self, new: &NewToken, cause: Cause) -> Result<Token> {
        let mut writer = self.writer();
        let event = self.catalog().plan_create_token(new, now())?;
        self.commit(&mut writer, cause, event)?;
        self.catalog().tokens().get(new.id).cloned()
    }

    /// Revokes a token ([`crate::Code::TokenNotFound`], [`crate::Code::AlreadyRevoked`]).
    pub fn revoke_token(&self, id: TokenId, cause: Cause) -> Result<Token> {
        let mut writer = self.writer();
        let event = self.catalog().plan_revoke_token(id)?;
        self.commit(&mut writer, cause, event)?;
        self.catalog().tokens().get(id).cloned()
    }
}
