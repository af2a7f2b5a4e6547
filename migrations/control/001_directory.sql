-- The directory of workspaces. No customer content: names and plans are in the workspace's own log.
-- A row is never deleted, so that neither an id nor a slug is used again.
create table workspace (
    id         uuid primary key,
    slug       text not null unique,
    region     text not null,
    status     text not null check (status in ('active', 'on_hold', 'erasing', 'erased')),
    version    integer not null, -- the last file of migrations/workspace that it has
    hash       text not null, -- of the files up to that one
    created_at timestamptz not null default now()
);
grant select, insert, update on workspace to :login;

-- Sign-ups that wait for their code. `sealed` is the whole pending sign-up under the keyring; the code is
-- an HMAC. The attempt is counted, and committed, before a code is compared.
create table signup (
    id         uuid primary key,
    sealed     text not null,
    code       bytea not null,
    attempts   integer not null default 0,
    expires_at timestamptz not null
);
create index on signup (expires_at);
grant select, insert, update, delete on signup to :login;
