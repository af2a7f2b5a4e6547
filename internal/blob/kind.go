package blob

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// Kind is what some blobs are of, by the pattern of their keys: {name} stands for any name, and another word in braces for the id of such a thing.
//
// Every kind is made by NewKind when the program begins, and a store takes no key that is of none. So no blob is kept of which the registry of data
// (domain.Data) does not say what it is and when it goes: a test compares the patterns of both.
type Kind struct {
	Pattern string
	is      *regexp.Regexp
}

var kinds []*Kind

var (
	anyName = regexp.MustCompile(`\\\{name\\\}`)
	anyID   = regexp.MustCompile(`\\\{[a-z]+\\\}`)
)

// NewKind makes a kind. It is called for variables of packages only.
func NewKind(pattern string) *Kind {
	is := anyName.ReplaceAllString(regexp.QuoteMeta(pattern), `[^/]+`)
	is = anyID.ReplaceAllString(is, `([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)
	k := &Kind{pattern, regexp.MustCompile(`^` + is + `$`)}
	kinds = append(kinds, k)
	return k
}

// Kinds are all that there are.
func Kinds() []*Kind { return kinds }

// Key is that of one blob, with ids in the place of the words in braces, in order.
func (k *Kind) Key(ids ...uuid.UUID) string {
	key := k.Pattern
	for _, id := range ids {
		before, from, _ := strings.Cut(key, "{")
		_, behind, _ := strings.Cut(from, "}")
		key = before + id.String() + behind
	}
	return key
}

// IDs reads the ids in a key; none when it is of another kind.
func (k *Kind) IDs(key string) (ids []uuid.UUID) {
	found := k.is.FindStringSubmatch(key)
	for _, text := range found[min(1, len(found)):] {
		ids = append(ids, uuid.MustParse(text)) // it has the form of one
	}
	return ids
}

// checkNew refuses a key under which nothing may be put: one that is none, or of no kind.
func checkNew(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	for _, k := range kinds {
		if k.is.MatchString(key) {
			return nil
		}
	}
	return fmt.Errorf("the blob %s is of no kind: make one with blob.NewKind", key)
}
