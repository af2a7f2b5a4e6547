// Package place knows where data is: the countries of the regions of Amazon, Google and Microsoft, and which of them are in the European
// Economic Area.
//
//	place.go   what a place is, and whether data may be there
//	clouds.go  the table of regions
package place

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// eea are the countries of the European Economic Area: those of the Union, and Iceland, Liechtenstein and Norway (ISO 3166-1 alpha-2).
var eea = strings.Fields("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO")

// Union is the country of a place that may be in any country of the Union, as a bucket of several regions is. ISO 3166 reserves it.
const Union = "EU"

// OutsideError says that data would be outside of the EEA.
type OutsideError struct {
	Place   string // as it was named
	Country string
}

func (e *OutsideError) Error() string {
	if strings.EqualFold(e.Place, e.Country) {
		return fmt.Sprintf("%s is outside of the European Economic Area", e.Country)
	}
	return fmt.Sprintf("%s is in %s, which is outside of the European Economic Area", e.Place, e.Country)
}

// UnknownError says that it is not known in which country a place is.
type UnknownError struct{ Place string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%q is neither a country (ISO 3166, such as be) nor a region of Amazon, Google or Microsoft that this program knows", e.Place)
}

var country = regexp.MustCompile(`^[A-Z]{2}$`)

// Country is the country (ISO 3166-1 alpha-2) of a place, which is a country itself or a region of a cloud, in capitals or not. The error is an
// OutsideError when it is outside of the EEA, and an UnknownError when nobody knows.
func Country(place string) (string, error) {
	in := clouds[strings.ToLower(place)]
	if in == "" {
		in = strings.ToUpper(place)
	}
	switch {
	case in == "EL": // as the Union's own institutions write it
		in = "GR"
	case !country.MatchString(in):
		return "", &UnknownError{place}
	}
	if in != Union && !slices.Contains(eea, in) {
		return in, &OutsideError{place, in}
	}
	return in, nil
}

// CheckURL refuses the URL of a database or a bucket that says itself that it is outside of the EEA: by a label of its host's name that
// is a region of a cloud, as in db.us-east-1.rds.amazonaws.com, or by the region of a bucket of Amazon's. Where a bucket has an endpoint of its own, the
// region is a word that requests are signed with, and no place.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return nil //nolint:nilerr // whoever opens it says so, and shows less of it
	}
	query := u.Query()
	endpoint := query.Get("endpoint")
	if at, err := url.Parse(endpoint); err == nil && at.Host != "" {
		endpoint = at.Host
	}
	server := u.Host
	if u.Scheme == "s3" { // its host is the name of the bucket
		server = endpoint
		if endpoint == "" || strings.Contains(endpoint, ".amazonaws.") {
			server += "." + query.Get("region")
		}
	}
	for _, hosts := range []string{server, query.Get("host")} {
		for _, label := range strings.FieldsFunc(hosts, func(c rune) bool { return strings.ContainsRune(".,:/", c) }) {
			in, known := clouds[strings.ToLower(label)]
			if known && in != Union && !slices.Contains(eea, in) {
				return &OutsideError{label, in}
			}
		}
	}
	return nil
}
