package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/kluis-eu/kluis/internal/place"
)

// region is one of KLUIS_REGIONS: a database and a place for blobs, with the country that both are in.
type region struct {
	name        string
	first       bool   // whether it is the home
	alone       bool   // whether there is no other
	country     string // ISO 3166-1 alpha-2
	database    string // empty: KLUIS_DATABASE_URL, or the private Postgres
	owner       string
	blobs       string
	checkpoints string
}

// regionEntry matches the beginning of an entry. The text up to the next entry is its value, because a URL may have commas, between several hosts.
var regionEntry = regexp.MustCompile(`(?:^|[,\n])[ \t]*([A-Za-z][A-Za-z0-9-]{0,31})(?:\.([a-z]+))?[ \t]*=`)

// regions are those of KLUIS_REGIONS, the home first. What is wrong with them is a wrong use, and the error shows no URL.
//
// The database and the blobs of the home are named by KLUIS_DATABASE_URL, KLUIS_OWNER_URL, KLUIS_BLOB_URL and KLUIS_CHECKPOINTS, unless
// KLUIS_REGIONS names them.
func (s settings) regions() (all []region, err error) {
	text := s.Regions
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") {
		file, err := os.ReadFile(text)
		if err != nil {
			return nil, fmt.Errorf("KLUIS_REGIONS: %w", err)
		}
		text = regionComment.ReplaceAllString(string(file), "")
	}
	if all, err = parseRegions(strings.TrimSpace(text)); err == nil {
		err = completeRegions(all)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_REGIONS: %w", err)}
	}
	return all, nil
}

var regionComment = regexp.MustCompile(`(?m)^[ \t]*#.*$`)

func parseRegions(text string) (all []region, err error) {
	begins := regionEntry.FindAllStringSubmatchIndex(text, -1)
	if len(begins) == 0 || strings.TrimSpace(text[:begins[0][0]]) != "" {
		return nil, errors.New("expected be=postgres://...,de=postgres://...,de.blobs=s3://..., or the path of a file of such lines")
	}
	for i, at := range begins {
		end := len(text)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		name, key, value := strings.ToLower(text[at[2]:at[3]]), "", strings.Trim(text[at[1]:end], " \t\r\n,")
		if at[4] >= 0 {
			key = text[at[4]:at[5]]
		}
		n := slices.IndexFunc(all, func(r region) bool { return r.name == name })
		switch {
		case key == "" && n >= 0:
			return nil, fmt.Errorf("there are two regions %s", name)
		case key == "":
			all = append(all, region{name: name, first: len(all) == 0, database: value})
			continue
		case n < 0:
			return nil, fmt.Errorf("%s.%s comes before %s=, which names the region's database", name, key, name)
		}
		into := map[string]*string{"place": &all[n].country, "owner": &all[n].owner, "blobs": &all[n].blobs, "checkpoints": &all[n].checkpoints}[key]
		if into == nil {
			return nil, fmt.Errorf("%s.%s: a region has a place, an owner, blobs and checkpoints", name, key)
		}
		*into = value
	}
	return all, nil
}

// completeRegions finds the country of each region, and refuses a region outside of the European Economic Area.
func completeRegions(all []region) error {
	for i := range all {
		r := &all[i]
		r.alone = len(all) == 1
		in, err := place.Country(r.name)
		if unknown := new(place.UnknownError); errors.As(err, &unknown) && r.country != "" {
			err = nil // the name is no place, and r.country gives the place
		}
		if err == nil && r.country != "" {
			in, err = place.Country(r.country)
		}
		if errors.As(err, new(*place.UnknownError)) {
			return fmt.Errorf("%w: %s.place says where it is", err, r.name)
		}
		if err != nil {
			return fmt.Errorf("region %s: %w", r.name, err)
		}
		r.country = in
		if !r.first && r.database == "" {
			return fmt.Errorf("region %s names no database: only the first one, the home, may leave that to KLUIS_DATABASE_URL", r.name)
		}
	}
	return nil
}

// checkPlaces refuses URLs whose host or region is outside of the European Economic Area.
func (c cell) checkPlaces() error {
	for name, address := range map[string]string{"the database": c.DatabaseURL, "the owner's database": c.OwnerURL, "the blobs": c.BlobURL, "the checkpoints": c.Checkpoints} {
		u, err := url.Parse(address)
		if err == nil && u.Scheme == "s3" && !u.Query().Has("region") { // as Amazon's programs find it
			query := u.Query()
			query.Set("region", cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")))
			address = (&url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: query.Encode()}).String()
		}
		if err := place.CheckURL(address); err != nil {
			return usageError{fmt.Errorf("region %s, %s: %w", c.name, name, err)}
		}
	}
	return nil
}
