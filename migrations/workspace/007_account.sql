-- The codes that let somebody choose a new password: an HMAC, and the attempts made on it. There are rows for each
-- address that somebody asked a code for, a member's or not, so that answering a wrong code takes the same work; one for
-- each circle from which it was asked for, so that nobody's request replaces another's code.
create table password_reset (
    email_hash text not null, -- as in member_email
    circle     bytea not null, -- an HMAC of the device or network that the member is known by; strangers share one
    code       bytea not null,
    attempts   integer not null default 0, -- by those whom the member is known by
    strangers  integer not null default 0, -- by others
    expires_at timestamptz not null,
    primary key (email_hash, circle)
);
create index on password_reset (expires_at);
grant select, insert, update, delete on password_reset to :role;

-- An invitation is accepted by one at a time: until then, nobody else's answer to it counts.
alter table invitation add column claimed_until timestamptz;
