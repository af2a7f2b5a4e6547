-- The code that lets somebody choose a new password: an HMAC, and the attempts made on it. There is a row for each
-- address that somebody asked a code for, a member's or not, so that answering a wrong code takes the same work.
create table password_reset (
    email_hash text primary key, -- as in member_email
    code       bytea not null,
    attempts   integer not null default 0,
    expires_at timestamptz not null
);
create index on password_reset (expires_at);
grant select, insert, update, delete on password_reset to :role;

-- An invitation is accepted by one at a time: until then, nobody else's answer to it counts.
alter table invitation add column claimed_until timestamptz;
