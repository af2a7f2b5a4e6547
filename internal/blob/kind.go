package blob

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// Kind is a kind of blobs, told by the pattern of their keys. In a pattern, {name} stands for any name, and another word in braces for an id.
//
// NewKind makes every kind when the program begins, and a store takes no key that fits none. So every blob is of a kind of which the registry of
// data (domain.Data) says what it is and when it is deleted: a test compares the patterns of both.
type Kind struct {
	Pattern string
	form    *regexp.Regexp
}

var kinds []*Kind

var (
	anyName = regexp.MustCompile(`\\\{name\\\}`)
	anyID   = regexp.MustCompile(`\\\{[a-z]+\\\}`)
)

// NewKind makes a kind. It is called for package variables only.
func NewKind(pattern string) *Kind {
	form := anyName.ReplaceAllString(regexp.QuoteMeta(pattern), `[^/]+`)
	form = anyID.ReplaceAllString(form, `([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)
	k := &Kind{pattern, regexp.MustCompile(`^` + form + `$`)}
	kinds = append(kinds, k)
	return k
}

// Kinds returns all kinds.
func Kinds() []*Kind { return kinds }

// Key returns the key of a blob, with ids in place of the words in braces, in order.
func (k *Kind) Key(ids ...uuid.UUID) string {
	key := k.Pattern
	for _, id := range ids {
		before, from, _ := strings.Cut(key, "{")
		_, behind, _ := strings.Cut(from, "}")
		key = before + id.String() + behind
	}
	return key
}

// IDs returns the ids in a key; none when the key is of another kind.
func (k *Kind) IDs(key string) (ids []uuid.UUID) {
	found := k.form.FindStringSubmatch(key)
	for _, text := range found[min(1, len(found)):] {
		ids = append(ids, uuid.MustParse(text)) // the pattern lets only ids through
	}
	return ids
}

// checkNew refuses a key under which nothing may be put, because it fits no kind.
func checkNew(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	for _, k := range kinds {
		if k.form.MatchString(key) {
			return nil
		}
	}
	return fmt.Errorf("the blob %s is of no kind: make one with blob.NewKind", key)
}
