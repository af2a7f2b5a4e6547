package promises

import (
	"strings"

	"github.com/kluis-eu/kluis/domain"
)

func (c *client) newTag(t tester, name string) domain.Tag {
	t.Helper()
	return decode[domain.Tag](t, c.call(t, "POST", "/api/tags", object{"name": name}).want(t, 201))
}

func tagPath(tag domain.Tag, more ...string) string {
	return strings.Join(append([]string{"/api/tags", tag.ID.String()}, more...), "/")
}
