package demo

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strconv"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// random gives n random characters, 5 bits each.
func random(n int) string {
	raw := make([]byte, n)
	rand.Read(raw) // never fails, see crypto/rand
	return base32Lower.EncodeToString(raw)[:n]
}

// names has the names of a workspace and its people in one run. All of them have a tag, such as o2-x7ka, so that a file can be played again, and no mail of
// another run is mistaken for one of this run.
type names struct{ tag string }

func newNames(org string) names {
	plain := ascii(org)
	if len(plain) > 40 { // of the 63 of a slug
		plain = strings.Trim(plain[:40], "-")
	}
	if plain == "" {
		plain = "org"
	}
	return names{plain + "-" + random(4)}
}

func (n names) slug() string { return "demo-" + n.tag }

// email gives the address of a person. local is unique in the workspace.
func (n names) email(local string) string { return local + "@" + n.tag + ".demo.example" }

var notPlain = regexp.MustCompile(`[^a-z0-9]+`)

// ascii gives the part of a name that can be in a slug or an address; it may be empty.
func ascii(name string) string {
	return strings.Trim(notPlain.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

var personCode = regexp.MustCompile(`^p([0-9]+)$`)

// fullName turns p015 into Person 015. Any other name stays.
func fullName(person string) string {
	if code := personCode.FindStringSubmatch(person); code != nil {
		return "Person " + code[1]
	}
	return person
}

// locals gives each person a part before the @ of the address: p015, or the ascii of the name, or person. Nobody gets admin, which is the demo's own.
func locals(people []string) map[string]string {
	taken := map[string]bool{"admin": true}
	chosen := map[string]string{}
	for _, person := range people {
		plain := ascii(person)
		if len(plain) > 50 { // of the 64 of an address
			plain = plain[:50]
		}
		if plain == "" {
			plain = "person"
		}
		local := plain
		for n := 2; taken[local]; n++ {
			local = plain + "-" + strconv.Itoa(n)
		}
		taken[local] = true
		chosen[person] = local
	}
	return chosen
}
