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

// OutsideError says that a place is outside of the EEA.
type OutsideError struct {
	Place   string // as the caller named it
	Country string
}

func (e *OutsideError) Error() string {
	if strings.EqualFold(e.Place, e.Country) {
		return fmt.Sprintf("%s is outside of the European Economic Area", e.Country)
	}
	return fmt.Sprintf("%s is in %s, which is outside of the European Economic Area", e.Place, e.Country)
}

// UnknownError says that the country of a place is not known.
type UnknownError struct{ Place string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%q is neither a country (ISO 3166, such as be) nor a region of Amazon, Google or Microsoft that this program knows", e.Place)
}

var country = regexp.MustCompile(`^[A-Z]{2}$`)

// Country returns the country (ISO 3166-1 alpha-2) of a place. A place is a country or a region of a cloud, in capitals or not. The error is an
// OutsideError when it is outside of the EEA, and an UnknownError when its country is not known.
func Country(place string) (string, error) {
	in := clouds[strings.ToLower(place)]
	if in == "" {
		in = strings.ToUpper(place)
	}
	switch {
	case in == "EL": // Greece, as the institutions of the Union write it
		in = "GR"
	case !country.MatchString(in):
		return "", &UnknownError{place}
	}
	if in != Union && !slices.Contains(eea, in) {
		return in, &OutsideError{place, in}
	}
	return in, nil
}

// CheckURL refuses the URL of a database or a bucket that shows that it is outside of the EEA: by a label of the host's name that is a region of a
// cloud, as in db.us-east-1.rds.amazonaws.com, or by the region of a bucket of Amazon's. A bucket with another endpoint is signed for a
// region that may be any word, and so tells nothing of a place.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return nil //nolint:nilerr // opening it fails, with an error that shows less of it
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
