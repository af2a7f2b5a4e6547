-- One row says "this receiver of the workspace may have events to be delivered". The background makes it when the workspace has new
-- events, and deletes it when all are delivered. Whoever delivers leases the row; after a failure it is left alone for a while.
create table delivery (
    receiver_id  uuid primary key,
    workspace_id uuid not null,
    due_at       timestamptz not null default now(),
    leased_until timestamptz not null default '-infinity',
    lease        uuid,
    again        boolean not null default false, -- new events came since the lease began
    failures     integer not null default 0      -- in a row
);
create index on delivery (due_at);
grant select, insert, update, delete on delivery to :login;
