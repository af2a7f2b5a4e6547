-- One row says "this workspace has new events". Appends insert rows; the background deletes those of a workspace
-- together once it has handled them. When that failed it leaves the oldest, and says how often and until when in it.
create table signal (
    workspace_id uuid not null,
    id           bigint generated always as identity,
    position     bigint not null,
    attempts     integer not null default 0, -- that failed, in a row
    not_before   timestamptz,                -- the workspace is left alone until then
    primary key (workspace_id, id)           -- the look goes from workspace to workspace, and to the oldest row of each
);
grant usage on schema kluis to :role;
grant insert on signal to :role;
grant select, update, delete on signal to :login;

-- A workspace's role signals for itself alone. The policies name no role, so that a dump brings them along to a server
-- that has no such role yet; for whom the other three are, the grants say.
alter table signal enable row level security;
create policy insert_own on signal for insert with check (current_user = 'ws_' || replace(workspace_id::text, '-', ''));
create policy select_any on signal for select using (true);
create policy update_any on signal for update using (true);
create policy delete_any on signal for delete using (true);
