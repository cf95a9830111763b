package awshttp

import (
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// credentialsFrom returns the credentials in the environment, as in Lambda and after aws
// configure export-credentials, or else those of the role of a container (ECS, EKS Pod
// Identity) or a machine (EC2).
func credentialsFrom(getenv func(string) string) (aws.CredentialsProvider, error) {
	if id := getenv("AWS_ACCESS_KEY_ID"); id != "" {
		return credentials.NewStaticCredentialsProvider(id, getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")), nil
	}
	if getenv("AWS_PROFILE") != "" {
		return nil, fmt.Errorf("profiles are not read here: eval \"$(aws configure export-credentials --format env)\" exports theirs")
	}
	// Source: AWS SDKs and Tools Reference Guide, container credential provider.
	endpoint := getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if relative := getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		endpoint = "http://169.254.170.2" + relative
	}
	if endpoint == "" {
		return ec2rolecreds.New(), nil
	}
	return endpointcreds.New(endpoint, func(o *endpointcreds.Options) {
		o.AuthorizationToken = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if path := getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); path != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(path)
				return string(token), err
			})
		}
	}), nil
}
