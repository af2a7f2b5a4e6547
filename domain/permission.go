package domain

// The cells of the matrix.
const (
	all = All
	own = Own
	pro = InProject
	off = None
)

// The permissions, each with the scope that each built-in role has. An operation requires one of them; an own role grants some of them. A
// line that lacks a cell does not compile.
var (
	//                         admin
	//                         |    manager
	//                         |    |    member
	//                         |    |    |    viewer
	//                         |    |    |    |    auditor
	//                         |    |    |    |    |    analyst
	ReadWorkspace     = permit(all, all, all, all, all, all, "workspace", "read")
	UpdateWorkspace   = permit(all, off, off, off, off, off, "workspace", "update")
	DeleteWorkspace   = permit(all, off, off, off, off, off, "workspace", "delete")
	ReadMember        = permit(all, all, all, off, all, all, "member", "read")
	CreateMember      = permit(all, off, off, off, off, off, "member", "create")
	UpdateMember      = permit(all, off, off, off, off, off, "member", "update")
	DeleteMember      = permit(all, off, off, off, off, off, "member", "delete")
	ReadRole          = permit(all, all, all, off, all, all, "role", "read")
	CreateRole        = permit(all, off, off, off, off, off, "role", "create")
	UpdateRole        = permit(all, off, off, off, off, off, "role", "update")
	DeleteRole        = permit(all, off, off, off, off, off, "role", "delete")
	ReadProject       = permit(all, all, all, pro, all, all, "project", "read")
	CreateProject     = permit(all, all, off, off, off, off, "project", "create")
	UpdateProject     = permit(all, all, off, off, off, off, "project", "update")
	DeleteProject     = permit(all, off, off, off, off, off, "project", "delete")
	ReadTask          = permit(all, all, all, own, all, all, "task", "read")
	CreateTask        = permit(all, all, all, off, off, off, "task", "create")
	UpdateTask        = permit(all, all, all, off, off, off, "task", "update")
	DeleteTask        = permit(all, all, own, off, off, off, "task", "delete")
	ReadComment       = permit(all, all, all, own, all, all, "comment", "read")
	CreateComment     = permit(all, all, all, off, off, off, "comment", "create")
	UpdateComment     = permit(all, own, own, off, off, off, "comment", "update")
	DeleteComment     = permit(all, all, own, off, off, off, "comment", "delete")
	ReadAttachment    = permit(all, all, all, own, all, all, "attachment", "read")
	CreateAttachment  = permit(all, all, all, off, off, off, "attachment", "create")
	DeleteAttachment  = permit(all, all, own, off, off, off, "attachment", "delete")
	ReadTag           = permit(all, all, all, all, all, all, "tag", "read")
	CreateTag         = permit(all, all, all, off, off, off, "tag", "create")
	UpdateTag         = permit(all, all, own, off, off, off, "tag", "update")
	DeleteTag         = permit(all, all, own, off, off, off, "tag", "delete")
	ReadTimeEntry     = permit(all, all, own, own, all, all, "time_entry", "read")
	CreateTimeEntry   = permit(all, all, own, off, off, off, "time_entry", "create")
	UpdateTimeEntry   = permit(all, all, own, off, off, off, "time_entry", "update")
	DeleteTimeEntry   = permit(all, all, own, off, off, off, "time_entry", "delete")
	ReadAudit         = permit(all, off, off, off, all, off, "audit", "read")
	ReadImport        = permit(all, off, off, off, off, off, "import", "read")
	CreateImport      = permit(all, off, off, off, off, off, "import", "create")
	ReadExport        = permit(all, off, off, off, off, off, "export", "read")
	CreateExport      = permit(all, off, off, off, off, off, "export", "create")
	ReadIntegration   = permit(all, all, off, off, off, off, "integration", "read")
	CreateIntegration = permit(all, off, off, off, off, off, "integration", "create")
	DeleteIntegration = permit(all, off, off, off, off, off, "integration", "delete")
	ReadReceiver      = permit(all, off, off, off, off, off, "receiver", "read")
	CreateReceiver    = permit(all, off, off, off, off, off, "receiver", "create")
	UpdateReceiver    = permit(all, off, off, off, off, off, "receiver", "update")
	DeleteReceiver    = permit(all, off, off, off, off, off, "receiver", "delete")
)

// permit names a permission and grants it to the built-in roles, which are in order of their power.
//
//nolint:unparam // an admin has every permission: the column says so to its reader
func permit(admin, manager, member, viewer, auditor, analyst Scope, resource, action string) Permission {
	p := Permission{resource, action}
	Permissions = append(Permissions, p)
	for i, scope := range []Scope{admin, manager, member, viewer, auditor, analyst} {
		if scope != None {
			BuiltInRoles[i].Grants = append(BuiltInRoles[i].Grants, Grant{resource, action, scope})
		}
	}
	return p
}

// Permissions are all permissions.
var Permissions []Permission
