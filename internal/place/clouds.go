package place

import "strings"

// clouds are the countries of the regions of Amazon Web Services, Google Cloud and Microsoft Azure, by the names of the regions in their
// programs. The sources are the providers' lists, as of 2025:
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html, https://cloud.google.com/about/locations and
// https://learn.microsoft.com/azure/reliability/regions-list.
var clouds = regions(`
BE: europe-west1 belgiumcentral
DE: eu-central-1 eusc-de-east-1 europe-west3 europe-west10 germanywestcentral germanynorth
IE: eu-west-1 northeurope
FR: eu-west-3 europe-west9 francecentral francesouth
SE: eu-north-1 europe-north2 swedencentral swedensouth
IT: eu-south-1 europe-west8 europe-west12 italynorth
ES: eu-south-2 europe-southwest1 spaincentral
NL: europe-west4 westeurope
FI: europe-north1 finlandcentral
PL: europe-central2 polandcentral
AT: austriaeast
DK: denmarkeast
GR: greececentral
NO: norwayeast norwaywest
EU: europe
CH: eu-central-2 europe-west6 switzerlandnorth switzerlandwest
GB: eu-west-2 europe-west2 uksouth ukwest uk
US: us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1
US: us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4
US: eastus eastus2 eastus3 centralus northcentralus southcentralus westcentralus westus westus2 westus3
US: usgovvirginia usgovarizona usgovtexas usdodeast usdodcentral
CA: ca-central-1 ca-west-1 northamerica-northeast1 northamerica-northeast2 canadacentral canadaeast
MX: mx-central-1 northamerica-south1 mexicocentral
BR: sa-east-1 southamerica-east1 brazilsouth brazilsoutheast
CL: southamerica-west1 chilecentral
ZA: af-south-1 africa-south1 southafricanorth southafricawest
IL: il-central-1 me-west1 israelcentral
AE: me-central-1 uaenorth uaecentral
BH: me-south-1
QA: me-central1 qatarcentral
SA: me-central2
HK: ap-east-1 asia-east2 eastasia
TW: ap-east-2 asia-east1 taiwannorth taiwannorthwest
IN: ap-south-1 ap-south-2 asia-south1 asia-south2 centralindia southindia westindia jioindiawest jioindiacentral
JP: ap-northeast-1 ap-northeast-3 asia-northeast1 asia-northeast2 japaneast japanwest
KR: ap-northeast-2 asia-northeast3 koreacentral koreasouth
SG: ap-southeast-1 asia-southeast1 southeastasia
AU: ap-southeast-2 ap-southeast-4 australia-southeast1 australia-southeast2 australiaeast australiasoutheast australiacentral australiacentral2
ID: ap-southeast-3 asia-southeast2 indonesiacentral
MY: ap-southeast-5 malaysiawest
NZ: ap-southeast-6 newzealandnorth
TH: ap-southeast-7
CN: cn-north-1 cn-northwest-1 chinaeast chinaeast2 chinaeast3 chinanorth chinanorth2 chinanorth3
`)

// regions reads lines of a country and its regions.
func regions(table string) map[string]string {
	in := map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		country, names, _ := strings.Cut(line, ":")
		for _, name := range strings.Fields(names) {
			in[name] = country
		}
	}
	return in
}
