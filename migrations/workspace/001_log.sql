-- The log. The workspace's role may read and add; nobody but the owner, for retention, may change or delete.
create table event (
    position bigint primary key,
    id       uuid not null,
    stream   text not null,
    version  integer not null,
    type     text not null,
    at       timestamptz not null, -- never decreases with position
    actor    uuid,                 -- null for Kluis itself
    meta     json,                 -- where the actor asked from: see Record
    data     json not null,        -- json, not jsonb: the exact bytes that were written
    unique (stream, version)
);
create index on event (at);
grant select, insert on event to :role;

-- The last position. An append locks this row, so that positions are without gaps and in commit order.
create table head (
    single   boolean primary key default true check (single),
    position bigint not null,
    at       timestamptz not null
);
insert into head (position, at) values (0, 'epoch');
grant select, update on head to :role;

-- Appends that carry a key, so that a command sent twice has one effect. Kept for 24 hours.
create table dedupe (
    key         bytea primary key,
    fingerprint bytea not null, -- SHA-256 of what was asked for
    first       bigint not null,
    last        bigint not null, -- the positions that came of it
    at          timestamptz not null
);
create index on dedupe (at);
grant select, insert, delete on dedupe to :role;

-- The position up to which the read models are derived, and the version of the roster there.
create table checkpoint (
    single   boolean primary key default true check (single),
    position bigint not null,
    roster   integer not null
);
insert into checkpoint (position, roster) values (0, 0);
grant select, insert, update on checkpoint to :role;
