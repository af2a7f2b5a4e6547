-- The list of subprocessors, as the changes that were announced. A row never changes.
create table subprocessor (
    version   integer primary key,
    name      text not null,
    purpose   text not null,
    country   text not null, -- ISO 3166-1 alpha-2
    data      text not null,
    safeguard text not null,
    removed   boolean not null,
    agreed    boolean not null, -- nobody was told
    effective date not null,
    at        timestamptz not null default now()
);
grant select, insert on subprocessor to :login;

-- The workspaces whose admins are still to be told of a change.
create table subprocessor_notice (
    version      integer references subprocessor,
    workspace_id uuid,
    primary key (version, workspace_id)
);
grant select, insert, delete on subprocessor_notice to :login;

-- Who asked for documents about how Kluis is run, and which. Name, address and company are sealed under the keyring.
create table security_pack (
    id        uuid primary key,
    sealed    text not null,
    documents text[] not null,
    at        timestamptz not null default now()
);
create index on security_pack (at);
grant select, insert, update, delete on security_pack to :login; -- update: its keys rotate
