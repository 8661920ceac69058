//! Tokens: made and revoked. Once one was ever made, there is no way back to a directory
//! that asks for none: what was revoked or has expired opens nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Millis, TokenCreated, TokenRevoked};
use crate::token::{NewToken, Token, TokenId, check_token_name};

use super::Catalog;

/// Most tokens that are good at one time.
const MOST: usize = 1_000;
const WEEK: Millis = 7 * 24 * 3600 * 1000;
/// How many of those that are good no more are still shown.
const ENDED_SHOWN: usize = 100;

/// Every token that is good, and the last of those that are no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    known: BTreeMap<TokenId, Token>,
    /// Whether there ever was one.
    ever: bool,
}

impl Tokens {
    /// Whether there never was any.
    pub fn never_were(&self) -> bool {
        !self.ever
    }

    /// Those that are known, by id.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        self.known.iter().map(|(id, token)| (*id, token))
    }

    /// One of them ([`Code::TokenNotFound`]).
    pub fn get(&self, id: TokenId) -> Result<&Token> {
        let none = || Error::new(Code::TokenNotFound, format!("there is no token {id}"));
        self.known.get(&id).ok_or_else(none)
    }

    /// Of each name whose tokens all expire, when the last one does: from then on nothing can be
    /// done under it. Not of names whose last token was revoked, was made for no longer than a week, or
    /// ended more than a week before `now`.
    pub fn last_expiries(&self, now: Millis) -> BTreeMap<&str, Millis> {
        let mut last: BTreeMap<&str, (Millis, &Token)> = BTreeMap::new();
        for token in self.known.values() {
            let ends = token.ended_at().unwrap_or(Millis::MAX);
            let known = last.entry(&token.name).or_insert((ends, token));
            if ends >= known.0 {
                *known = (ends, token);
            }
        }
        let told = last.into_iter().filter(|(_, (ends, token))| {
            let by_itself = token.revoked_at.is_none() && *ends < Millis::MAX;
            by_itself && *ends + WEEK > now && ends.saturating_sub(token.created_at) > WEEK
        });
        told.map(|(name, (ends, _))| (name, ends)).collect()
    }

    fn take(&mut self, cause: &Cause, event: &Event) {
        match event {
            Event::TokenCreated(e) => {
                let token = Token {
                    name: e.name.clone(),
                    hash: e.hash,
                    grants: e.grants.clone(),
                    created_at: cause.at,
                    created_by: cause.actor.clone(),
                    expires_at: e.expires_at,
                    revoked_at: None,
                };
                self.known.insert(e.id, token);
                self.ever = true;
            }
            Event::TokenRevoked(e) => {
                if let Some(token) = self.known.get_mut(&e.id) {
                    token.revoked_at.get_or_insert(cause.at);
                }
            }
            _ => {}
        }
        self.forget_old(cause.at);
    }

    fn forget_old(&mut self, now: Millis) {
        let ended = self.known.iter().filter(|(_, token)| !token.is_live(now));
        let mut ended: Vec<(Option<Millis>, TokenId)> =
            ended.map(|(id, token)| (token.ended_at(), *id)).collect();
        let too_many = ended.len().saturating_sub(ENDED_SHOWN);
        ended.sort_unstable();
        for (_, id) in &ended[..too_many] {
            self.known.remove(id);
        }
    }
}

impl Catalog {
    /// Who may ask for something.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Makes a token. `now`: those that have expired do not count.
    pub(crate) fn plan_create_token(&self, new: &NewToken, now: Millis) -> Result<Event> {
        check_token_name(&new.name)?;
        if self.tokens.known.contains_key(&new.id) {
            return Err(Error::new(Code::InvalidName, "a token of this id was made before"));
        }
        if self.tokens.known.values().filter(|token| token.is_live(now)).count() >= MOST {
            let text = format!("there are {MOST} tokens, which is the most: revoke one first");
            return Err(Error::new(Code::TooManyTokens, text));
        }
        Ok(Event::TokenCreated(TokenCreated {
            id: new.id,
            name: new.name.clone(),
            hash: new.hash,
            grants: new.grants.clone(),
            expires_at: new.expires_at,
        }))
    }

    /// Revokes a token, also one that has expired.
    pub(crate) fn plan_revoke_token(&self, id: TokenId) -> Result<Event> {
        if self.tokens.get(id)?.revoked_at.is_some() {
            let text = format!("the token {id} was revoked already: nothing was changed");
            return Err(Error::new(Code::AlreadyRevoked, text));
        }
        Ok(Event::TokenRevoked(TokenRevoked { id }))
    }

    pub(super) fn apply_to_tokens(&mut self, cause: &Cause, event: &Event) {
        if matches!(event, Event::TokenCreated(_) | Event::TokenRevoked(_)) {
            self.tokens.take(cause, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> TokenId {
        TokenId::new(n.to_be_bytes())
    }

    fn new(n: u64, expires_at: Option<Millis>) -> NewToken {
        NewToken {
            id: id(n),
            name: "airflow".to_owned(),
            hash: [n as u8; 32],
            grants: "{}".to_owned(),
            expires_at,
        }
    }

    fn at(now: Millis) -> Cause {
        Cause { at: now, actor: "ada".to_owned(), ..Cause::default() }
    }

    fn create(catalog: &mut Catalog, n: u64, expires_at: Option<Millis>, now: Millis) {
        let event = catalog.plan_create_token(&new(n, expires_at), now).unwrap();
        catalog.apply(catalog.seq() + 1, &at(now), &event);
    }

    fn revoke(catalog: &mut Catalog, n: u64, now: Millis) -> Result<()> {
        let event = catalog.plan_revoke_token(id(n))?;
        catalog.apply(catalog.seq() + 1, &at(now), &event);
        Ok(())
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let mut catalog = Catalog::default();
        assert!(catalog.tokens().never_were());
        create(&mut catalog, 1, Some(100), 10);
        create(&mut catalog, 2, None, 20);
        let live = |catalog: &Catalog, now| -> Vec<TokenId> {
            let live = catalog.tokens().iter().filter(|(_, token)| token.is_live(now));
            live.map(|(id, _)| id).collect()
        };
        assert_eq!(live(&catalog, 99), [id(1), id(2)], "two of one name at once");
        assert_eq!(live(&catalog, 100), [id(2)]);
        revoke(&mut catalog, 2, 30).unwrap();
        assert_eq!(live(&catalog, 30), [id(1)]);
        assert_eq!(revoke(&mut catalog, 2, 40).unwrap_err().code(), Code::AlreadyRevoked);
        assert_eq!(revoke(&mut catalog, 3, 40).unwrap_err().code(), Code::TokenNotFound);
        assert!(catalog.plan_create_token(&new(1, None), 0).is_err(), "an id is given once");
        let token = catalog.tokens().get(id(2)).unwrap();
        assert_eq!((token.created_by.as_str(), token.revoked_at), ("ada", Some(30)));
        assert!(!catalog.tokens().never_were(), "and stays so without any that is good");
        let json = serde_json::to_string(&catalog).unwrap();
        assert_eq!(serde_json::from_str::<Catalog>(&json).unwrap(), catalog);
    }

    #[test]
    fn a_name_ends_with_the_last_of_its_tokens() {
        let mut catalog = Catalog::default();
        let name = new(1, None).name;
        let ends =
            |catalog: &Catalog, now| catalog.tokens().last_expiries(now).get(&*name).copied();
        create(&mut catalog, 1, Some(WEEK), 10);
        assert_eq!(ends(&catalog, 50), None, "never meant to last");
        create(&mut catalog, 2, Some(2 * WEEK), 10);
        assert_eq!(ends(&catalog, 50), Some(2 * WEEK));
        create(&mut catalog, 3, Some(4 * WEEK), 20);
        assert_eq!(ends(&catalog, 50), Some(4 * WEEK), "the new one of a rotation");
        assert_eq!(ends(&catalog, 5 * WEEK - 1), Some(4 * WEEK));
        assert_eq!(ends(&catalog, 5 * WEEK), None);
        create(&mut catalog, 4, None, 20);
        assert_eq!(ends(&catalog, 50), None, "one that never ends");
        revoke(&mut catalog, 4, 30).unwrap();
        revoke(&mut catalog, 3, 30).unwrap();
        assert_eq!(ends(&catalog, 50), Some(2 * WEEK), "the one that is left");
        revoke(&mut catalog, 2, 3 * WEEK / 2).unwrap();
        assert_eq!(ends(&catalog, 3 * WEEK / 2), None, "ended on purpose");
    }

    #[test]
    fn there_is_a_most_and_only_those_that_are_good_count() {
        let mut catalog = Catalog::default();
        for n in 0..MOST as u64 {
            create(&mut catalog, n, (n < 2).then_some(50), 10);
        }
        let refused = catalog.plan_create_token(&new(5_000, None), 49).unwrap_err();
        assert_eq!(refused.code(), Code::TooManyTokens);
        assert!(catalog.plan_create_token(&new(5_000, None), 50).is_ok());
    }

    #[test]
    fn of_those_that_are_good_no_more_the_last_are_shown() {
        let mut catalog = Catalog::default();
        for n in 0..ENDED_SHOWN as u64 + 5 {
            create(&mut catalog, n, Some(1_000 + n), 10);
        }
        create(&mut catalog, 9_999, None, 100_000);
        let left: Vec<TokenId> = catalog.tokens().iter().map(|(id, _)| id).collect();
        assert_eq!(left.len(), ENDED_SHOWN + 1);
        assert!(!left.contains(&id(4)) && left.contains(&id(5)) && left.contains(&id(9_999)));
    }
}
