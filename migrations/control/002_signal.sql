-- One row says "this workspace has new events". Workspace roles may insert and nothing else; the
-- background deletes what it has handled.
create table signal (
    id           bigint generated always as identity primary key,
    workspace_id uuid not null,
    position     bigint not null
);
grant usage on schema kluis to kluis_workspace;
grant insert on signal to kluis_workspace;
grant select, insert, update, delete on signal to :login;
