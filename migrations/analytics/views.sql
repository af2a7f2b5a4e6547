-- What analysts read of a workspace: see docs/analytics.md. The names and columns here stay, whatever becomes of the tables
-- under them. People are ids, and what they wrote in free text beyond a title is not here.

create view member_view with (security_barrier) as
    select id as member_id, role, status, created_at, updated_at from member;
comment on view member_view is 'The people of the workspace, without names and addresses. status: invited, active, deactivated.';

create view project_view with (security_barrier) as
    select id as project_id, key, name, status, lead_id, cardinality(member_ids) as members, budget_minutes, budget_cents, hourly_rate_cents,
        created_by, created_at, updated_at
    from project where deleted_at is null;
comment on view project_view is 'The projects. status: active, archived. Money is in EUR cents.';

create view project_member_view with (security_barrier) as
    select id as project_id, unnest(member_ids) as member_id from project where deleted_at is null;
comment on view project_member_view is 'The members of each project, a row each.';

create view task_view with (security_barrier) as
    select id as task_id, key, title, status, priority, project_id, parent_id, start_on, due_on, estimate_minutes,
        cardinality(assignee_ids) as assignees, created_by, created_at, updated_at, completed_at
    from task where deleted_at is null;
comment on view task_view is 'The tasks that are not in the trash. status: open, in_progress, done, cancelled. Days are of Europe/Brussels.';

create view task_assignee_view with (security_barrier) as
    select id as task_id, unnest(assignee_ids) as member_id from task where deleted_at is null;
comment on view task_assignee_view is 'The assignees of each task, a row each.';

-- A tag that was merged stands for the one that it was merged into, however often that was merged in turn.
create view task_tag_view with (security_barrier) as
    with recursive means (tag_id, is_now) as (
        select id, id from tag where deleted_at is null
        union
        select tag.id, means.is_now from tag join means on tag.merged_into = means.tag_id)
    select distinct task.id as task_id, means.is_now as tag_id
    from task cross join lateral unnest(tag_ids) as tagged (id) join means on means.tag_id = tagged.id where task.deleted_at is null;
comment on view task_tag_view is 'The tags of each task, a row each.';

create view tag_view with (security_barrier) as
    select id as tag_id, name, colour, created_at from tag where deleted_at is null;
comment on view tag_view is 'The tags.';

create view comment_view with (security_barrier) as
    select id as comment_id, task_id, created_by, created_at, updated_at, length(body) as characters from comment where deleted_at is null;
comment on view comment_view is 'The comments, without what they say.';

create view time_entry_view with (security_barrier) as
    select id as time_entry_id, member_id, task_id, project_id, start as started_at, "end" as ended_at, first_day as day, minutes, billable, hourly_rate_cents,
        amount_cents, created_by, created_at, updated_at
    from time_entry where deleted_at is null;
comment on view time_entry_view is 'What was worked, without what people wrote about it; ended_at and minutes are null while a timer runs. day is the one on which it began, in Europe/Brussels. Money is in EUR cents.';

create view attachment_view with (security_barrier) as
    select id as attachment_id, task_id, size, type, created_by, created_at from attachment where deleted_at is null;
comment on view attachment_view is 'The files of tasks, without their names. size is in bytes.';

create view event_view with (security_barrier) as
    select position, id as event_id, stream, version, type, at, actor as member_id from event where position > (select pruned from head);
comment on view event_view is 'The log, as far back as it is kept, without what the events say: what happened to which thing, when, by whom; member_id is null for Kluis itself.';
