package domain

// UniqueName is a name that no other thing of its noun has, with the form in which it is compared, which is a fact of the event: the
// next version of Unicode does not change what a log was.
type UniqueName struct {
	Name    string `json:"name"`
	NameKey string `json:"name_key"`
}
