create table receiver (
    id           uuid primary key,
    kind         text not null,
    name         text not null,
    url          text not null,
    types        text[] not null,
    subject      text not null,
    opened       boolean not null,
    ca           text not null,
    status       text not null,
    reason       text not null,
    secret_no    integer not null,
    secret_until timestamptz,
    starts_after bigint not null,
    starts       integer not null,
    resumed_at   timestamptz not null,
    created_by   uuid not null,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    deleted_at   timestamptz,
    version      integer not null,
    position     bigint not null
);
create index on receiver (id) where status = 'active' and deleted_at is null; -- each wake-up of the background asks for those
grant select, insert, update on receiver to :role;

-- What Kluis shows to a receiver, sealed under the workspace's data key. No history, and gone with the receiver.
create table receiver_credentials (
    receiver_id uuid primary key,
    sealed      text not null
);
grant select, insert, update, delete on receiver_credentials to :role;

-- How far delivery to a receiver is. No history: nothing is decided on it. Whoever delivers writes as long as it is the holder.
create table receiver_cursor (
    receiver_id   uuid primary key,
    holder        uuid not null,          -- the lease under which is delivered: that of kluis.delivery
    position      bigint not null,        -- up to here everything was delivered, or not wanted
    epoch         integer not null,       -- of the log
    starts        integer not null,       -- that of the receiver when the position was set
    delivered     bigint not null default 0,
    delivered_at  timestamptz,            -- the last event
    failures      integer not null default 0, -- in a row
    failing_since timestamptz,
    failed_at     timestamptz,
    error         text not null default '',   -- the last one
    again_at      timestamptz,            -- when it is tried again
    skipped       bigint not null default 0,  -- positions that were pruned before they could be delivered
    restored_at   timestamptz             -- when it began anew at the head, as the log had gone back
);
grant select, insert, update, delete on receiver_cursor to :role;
