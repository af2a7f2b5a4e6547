-- The erasures of workspaces: those that are asked for, under way, and done. A row stays for ever, with the certificate: it is how an id and a
-- slug are known to be used up, and what was erased is proven.
create table erasure (
    workspace_id uuid primary key,
    slug         text not null,
    due_at       timestamptz not null,
    leased_until timestamptz not null default '-infinity',
    step         text not null default '', -- the last that is done; empty while the workspace is served
    facts        jsonb not null default '{}', -- what the certificate will say
    certificate  text
);
create index on erasure (due_at) where certificate is null;
grant select, insert, update, delete on erasure to :login;
