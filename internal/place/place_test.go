package place

import (
	"errors"
	"regexp"
	"testing"
)

func TestCountry(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]string{
		"be": "BE", "BE": "BE", "eu-west-1": "IE", "eu-central-1": "DE", "europe-west1": "BE", "westeurope": "NL", "norwayeast": "NO", "el": "GR", "eu": "EU", "li": "LI",
	} {
		if got, err := Country(place); got != want || err != nil {
			t.Errorf("%s is in %q, %v, and not in %s", place, got, err, want)
		}
	}
	for place, in := range map[string]string{
		"us": "US", "us-east-1": "US", "US-EAST-1": "US", "eu-west-2": "GB", "eu-central-2": "CH", "europe-west2": "GB", "europe-west6": "CH", "uksouth": "GB", "uk": "GB", "eastus": "US", "ap-south-1": "IN",
	} {
		var outside *OutsideError
		if _, err := Country(place); !errors.As(err, &outside) || outside.Country != in || outside.Place != place {
			t.Errorf("%s is not outside, in %s: %v", place, in, err)
		}
	}
	for _, place := range []string{"", "mars-north-1", "eu-west-99", "b", "bel", "1a"} {
		var unknown *UnknownError
		if in, err := Country(place); !errors.As(err, &unknown) {
			t.Errorf("%q is known: %s, %v", place, in, err)
		}
	}
}

func TestTheTableHasCountries(t *testing.T) {
	t.Parallel()
	for name, in := range clouds {
		if !regexp.MustCompile(`^[A-Z]{2}$`).MatchString(in) {
			t.Errorf("%s is in %q", name, in)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://kluis:pw@db.abc.us-east-1.rds.amazonaws.com:5432/kluis",
		"postgres://kluis:pw@10.0.0.1:5432,db.abc.eu-west-2.rds.amazonaws.com:5432/kluis",
		"postgres:///kluis?host=db.us-east-1.rds.amazonaws.com",
		"s3://bucket?region=us-east-1",
		"s3://bucket?region=us-east-1&endpoint=https://s3.amazonaws.com",
		"s3://bucket?region=eu&endpoint=https://s3.us-west-2.amazonaws.com",
	} {
		var outside *OutsideError
		if err := CheckURL(address); !errors.As(err, &outside) {
			t.Errorf("%s is not outside: %v", address, err)
		}
	}
	for _, address := range []string{
		"postgres://kluis:pw@db.abc.eu-west-1.rds.amazonaws.com:5432/kluis",
		"postgres://kluis:pw@127.0.0.1:5432/kluis",
		"s3://bucket?region=eu-west-1", "file:///var/lib/kluis/blobs", "%",
		"s3://blobs?region=us-east-1&endpoint=http://127.0.0.1:9000", // a word that requests are signed with
	} {
		if err := CheckURL(address); err != nil {
			t.Errorf("%s is refused: %v", address, err)
		}
	}
}
