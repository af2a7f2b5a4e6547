-- One row says "this workspace has new events". Appends insert rows; the background deletes those of a workspace
-- together once it has handled them. When that failed it leaves the oldest, and says how often and until when in it.
create table signal (
    -- A workspace's role signals for itself alone: it may not name the workspace, and no other schema is on a path of its.
    workspace_id uuid not null default substring(current_schema() from 4)::uuid,
    id           bigint generated always as identity,
    position     bigint not null,
    attempts     integer not null default 0, -- that failed, in a row
    not_before   timestamptz,                -- the workspace is left alone until then
    primary key (workspace_id, id)           -- the look goes from workspace to workspace, and to the oldest row of each
);
grant usage on schema kluis to :role;
grant insert (position) on signal to :role;
grant select, update, delete on signal to :login;
