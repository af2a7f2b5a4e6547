-- What was done how often lately, to refuse what is too much: one row for each limit and for whom it counts. A row says
-- about nobody who they are: subject is an HMAC under limit_key, which is sealed with a key outside the database.
-- A plain hash would not do, since addresses can be guessed.
create table counter (
    name         text not null, -- of the limit
    subject      bytea not null,
    circle       bytea not null, -- of those who share a count of their own for the subject: also an HMAC
    hits         timestamptz[] not null default '{}', -- those that may still count, the oldest first, each at an instant of its own
    open         timestamptz[] not null default '{}', -- those of them whose outcome is not known yet
    locked_until timestamptz,          -- the end of the last lock, where the limit locks; earlier hits no longer count
    lock_count   integer not null default 0, -- locks in a row: each is longer than the one before
    keep_until   timestamptz not null, -- from then on the row says nothing
    primary key (name, subject, circle)
);
create index on counter (keep_until);
grant select, insert, update, delete on counter to :login;

-- Sealed with the keyring and rewrapped with it, so the counters outlive a rotation.
create table limit_key (
    single  boolean primary key default true check (single),
    wrapped text not null
);
grant select, insert, update on limit_key to :login;
