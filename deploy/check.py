"""Checks the template. deploy/check installs what this needs and runs it.

First lint the template with cfn-lint and checkov. Then apply its rules, the SAM transform and its conditions
to each case below. Lint each result and check that it keeps the promises. Together,
the cases make every condition both true and false.
"""

import copy
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import warnings

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

VPC = {
    "VpcId": "vpc-0123456789abcdef0",
    "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "DynamoDbPrefixListId": "pl-02cd2c6b",
}
FILE_SYSTEM = {
    "FileSystemId": "fs-0123456789abcdef0",
    "AccessPointArn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
    "MountTargetSecurityGroupId": "sg-0123456789abcdef0",
}
JWT = {"JwtIssuer": "https://issuer.example/", "JwtAudience": "a,b"}

KEY = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"

CASES = {
    "default": {},
    "x86": {"Architecture": "x86_64", "MemorySize": 10240, "Timeout": "900", "ReservedConcurrency": -1, "ThrottlingBurst": 9},
    "provisioned": {"ThroughputMode": "provisioned", "ProvisionedMibps": 100, "TransitionToIA": "AFTER_30_DAYS"},
    "bursting": {"ThroughputMode": "bursting", "RootDirectory": "/data/shared", "PosixUid": 1000, "PosixGid": 1000},
    "jwt-tenants": {**JWT, "TenantClaim": "tenant", "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms"},
    "jwt-scopes": {**JWT, "JwtScopes": "dedupe/scan,admin", "ThrottlingRate": 7},
    "key": {"KmsKeyArn": KEY, "MaxMibPerCall": 100},
    "key-no-index": {"KmsKeyArn": KEY, "Index": "off"},
    "no-index": {"Index": "off"},
    "jobs": {"Jobs": "on", "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms"},
    "jobs-key": {"Jobs": "on", "KmsKeyArn": KEY},
    "jobs-no-index": {"Jobs": "on", "Index": "off", "ReportRetentionDays": 7, "JobConcurrency": -1, "ReservedConcurrency": -1},
    "jobs-tenants": {**JWT, "JwtScopes": "admin", "Jobs": "on", "TenantClaim": "tenant", "TenantJobs": 3, "TenantMibPerMonth": 1000},
    "jobs-prefix-lists": {"Jobs": "on", "S3PrefixListId": "pl-63a5400a"},
    "jobs-vpc": {**VPC, **FILE_SYSTEM, "Jobs": "on", "S3PrefixListId": "pl-63a5400a"},
    "prefix-list": {"DynamoDbPrefixListId": VPC["DynamoDbPrefixListId"]},
    "vpc": VPC,
    "vpc-no-index": {**VPC, "Index": "off", "DynamoDbPrefixListId": ""},
    "vpc-and-group": {**VPC, "MountTargetSecurityGroupId": "sg-0123456789abcdef0"},
    "file-system": {**VPC, **FILE_SYSTEM},
    "file-system-jwt": {**VPC, **FILE_SYSTEM, **JWT, "ReservedConcurrency": 0},
}
REFUSED = [
    {"VpcId": VPC["VpcId"]},
    {"SubnetIds": VPC["SubnetIds"]},
    {**VPC, "DynamoDbPrefixListId": ""},
    {**VPC, "Jobs": "on"},
    {**FILE_SYSTEM},
    {**VPC, "FileSystemId": FILE_SYSTEM["FileSystemId"]},
    {**VPC, "AccessPointArn": FILE_SYSTEM["AccessPointArn"]},
    {"MountTargetSecurityGroupId": FILE_SYSTEM["MountTargetSecurityGroupId"]},
    {"JwtIssuer": JWT["JwtIssuer"]},
    {"JwtAudience": JWT["JwtAudience"]},
    {"JwtScopes": "admin"},
]

OPENAPI = json.loads(pathlib.Path(__file__).parent.with_name("dedupe").joinpath("service/openapi.json").read_text())

ROUTES = {f"{method.upper()} {path}" for path, methods in OPENAPI["paths"].items() for method in methods
          if method != "parameters"}

NO_VALUE = object()


def evaluate(x, params, conditions):
    """Returns x with conditions and parameters resolved. References to resources stay."""
    if isinstance(x, list):
        return [v for v in (evaluate(v, params, conditions) for v in x) if v is not NO_VALUE]
    if not isinstance(x, dict):
        return x
    if len(x) == 1:
        (name, arg), = x.items()
        if name == "Fn::If":
            return evaluate(arg[1] if conditions(arg[0]) else arg[2], params, conditions)
        if name == "Condition" and isinstance(arg, str):
            return conditions(arg)
        if name == "Ref" and arg in params:
            return params[arg]
        if name == "Ref" and arg == "AWS::NoValue":
            return NO_VALUE
        if name in ("Fn::Equals", "Fn::Not", "Fn::And", "Fn::Or", "Fn::Split"):
            v = evaluate(arg, params, conditions)
            return {
                "Fn::Equals": lambda: str(v[0]) == str(v[1]),
                "Fn::Not": lambda: not v[0],
                "Fn::And": lambda: all(v),
                "Fn::Or": lambda: any(v),
                "Fn::Split": lambda: v[1].split(v[0]),
            }[name]()
    return {k: e for k, e in ((k, evaluate(v, params, conditions)) for k, v in x.items()) if e is not NO_VALUE}


def obeys_rules(template, params):
    assertions = [a["Assert"] for r in template["Rules"].values() for a in r["Assertions"]]
    return all(evaluate(assertions, params, None))


def deploy(template, params, seen):
    """Returns the resources that CloudFormation would create."""
    template = copy.deepcopy(template)
    template["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://bucket/key"  # as sam package does
    template["Resources"]["Helper"]["Properties"]["CodeUri"] = "s3://bucket/key"
    template["Resources"]["JobsFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
    template["Resources"]["JobsStateMachine"]["Properties"]["DefinitionUri"] = "s3://bucket/key"
    template = transform(template, {k: str(v) for k, v in params.items()}, lambda: {})

    def condition(name):
        value = evaluate(template["Conditions"][name], params, condition)
        seen.add((name, value))
        return value

    resources = {}
    for name, r in template["Resources"].items():
        if "Condition" not in r or condition(r.pop("Condition")):
            resources[name] = evaluate(r, params, condition)
    outputs = {k: o for k, o in template["Outputs"].items() if "Condition" not in o or condition(o.pop("Condition"))}
    outputs = evaluate(outputs, params, condition)
    return {"Mappings": template["Mappings"], "Resources": resources, "Outputs": outputs}


def needed_by(name, resources):
    """Returns everything that is created before a resource."""
    found, todo = set(), [name]

    def names(x):
        if isinstance(x, dict):
            for k, v in x.items():
                if k == "Fn::Sub":
                    yield from re.findall(r"\$\{(\w+)", v if isinstance(v, str) else v[0])
                if k in ("Ref", "DependsOn", "Fn::GetAtt"):
                    yield from [v] if isinstance(v, str) else v
                yield from names(v)
        elif isinstance(x, list):
            for v in x:
                yield from names(v)

    while todo:
        new = {n.split(".")[0] for n in names(resources[todo.pop()])} & resources.keys() - found
        found |= new
        todo += new
    return found


def promises(params, resources):
    """Yields each promise and whether the resources keep it."""

    def of(kind):
        return [r["Properties"] for r in resources.values() if r["Type"] == kind]

    def listed(x):
        return x if isinstance(x, list) else [x]

    routes = {r["RouteKey"]: r for r in of("AWS::ApiGatewayV2::Route")}
    yield "the routes are those of the service", routes.keys() == {r for r in ROUTES if "/jobs" not in r}
    wanted = "JWT" if params["JwtIssuer"] else "AWS_IAM"
    yield "health is open", routes.pop("GET /v1/healthz")["AuthorizationType"] == "NONE"
    yield "every other route asks for authorization", routes and all(
        r["AuthorizationType"] == wanted and ("AuthorizerId" in r) == (wanted == "JWT") for r in routes.values())
    scopes = params["JwtScopes"].split(",") if params["JwtScopes"] else None
    yield "and for the scopes, if there are any", all(r.get("AuthorizationScopes") == scopes for r in routes.values())
    stage, = of("AWS::ApiGatewayV2::Stage")
    yield "throttling as the file system can serve, or as told", stage["DefaultRouteSettings"] == {
        f"Throttling{name}Limit": params["Throttling" + name] or {"Fn::FindInMap": [
            "Throttling", params["ThroughputMode"], name]} for name in ("Rate", "Burst")}
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    yield "the access log names the caller and the token", {"$context.identity.userArn"} | {
        f"$context.authorizer.claims.{c}" for c in ("iss", "sub", "client_id", "scope")} <= logged
    yield "what is open is throttled harder", stage["RouteSettings"].keys() == {"GET /v1/healthz"}
    yield "no other way in", not of("AWS::Lambda::Url") and len(of("AWS::Lambda::Permission")) == 1

    indexed = params["Index"] == "on"
    table = {"Fn::GetAtt": ["IndexTable", "Arn"]}
    batches = {"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"}
    ways_out = {"NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "VPCGatewayAttachment", "EIP", "Route",
                "VPCPeeringConnection", "TransitGatewayAttachment"}
    yield "no way out but to the index", not any(of("AWS::EC2::" + w) for w in ways_out)
    endpoints = of("AWS::EC2::VPCEndpoint")
    yield "a gateway to the index in a VPC that is made, none in another", len(endpoints) == (
        indexed and not params["VpcId"])
    yield "routes only for that, or for jobs", len(of("AWS::EC2::RouteTable")) == (
        (indexed or params["Jobs"] == "on") and not params["VpcId"])
    for e in endpoints:
        yield "a gateway to DynamoDB", (e["VpcEndpointType"], e["ServiceName"], e["RouteTableIds"]) == (
            "Gateway", {"Fn::Sub": "com.amazonaws.${AWS::Region}.dynamodb"}, [{"Ref": "RouteTable"}])
        yield "which both subnets have", [(a["RouteTableId"], a["SubnetId"]) for a in of(
            "AWS::EC2::SubnetRouteTableAssociation")] == [({"Ref": "RouteTable"}, {"Ref": s}) for s in ("SubnetA", "SubnetB")]
        through, = e["PolicyDocument"]["Statement"]
        roles = [{"Fn::GetAtt": [r, "Arn"]} for r in ["FunctionRole"] + ["HelperRole"] * (params["Jobs"] == "on")]
        yield "through it the function and the helpers reach the table, and nobody anything else", (
            through["Effect"] == "Allow" and set(through["Action"]) == batches and through["Resource"] == table
            and listed(through["Condition"]["ArnEquals"]["aws:PrincipalArn"]) == roles and len(through["Condition"]) == 1)
    yield "no public addresses", not any(s["MapPublicIpOnLaunch"] for s in of("AWS::EC2::Subnet"))
    into = of("AWS::EC2::SecurityGroupIngress") + [
        i for g in of("AWS::EC2::SecurityGroup") for i in g.get("SecurityGroupIngress", [])]
    yield "NFS from the function is all that comes in", [
        (i["FromPort"], i["ToPort"], i["IpProtocol"], i["SourceSecurityGroupId"]) for i in into
    ] == [(2049, 2049, "tcp", {"Ref": "FunctionSecurityGroup"})]
    out = resources["FunctionSecurityGroup"]["Properties"]["SecurityGroupEgress"]
    nfs, *https = out
    yield "NFS to the mount targets goes out", (nfs["FromPort"], nfs["ToPort"], nfs["IpProtocol"]) == (
        2049, 2049, "tcp") and "DestinationSecurityGroupId" in nfs
    yield "besides, HTTPS to the index, and nothing else", [
        (e["FromPort"], e["ToPort"], e["IpProtocol"]) for e in https] == [(443, 443, "tcp")] * indexed
    yield "in a VPC with routes of its own only to DynamoDB", all(
        e.get("DestinationPrefixListId") == params["DynamoDbPrefixListId"] and "CidrIp" not in e
        for e in https if params["VpcId"] or params["DynamoDbPrefixListId"])
    yield "security groups say what goes out", all(g["SecurityGroupEgress"] for g in of("AWS::EC2::SecurityGroup"))

    policies = [p["PolicyDocument"] for r in of("AWS::IAM::Role") for p in r["Policies"]]
    policies += [p["PolicyDocument"] for p in of("AWS::IAM::RolePolicy")]
    allowed = [s for p in policies for s in p["Statement"] if s["Effect"] == "Allow"]
    yield "no managed policies", not any("ManagedPolicyArns" in r for r in of("AWS::IAM::Role"))
    yield "no wildcard in what is allowed", not any("*" in a for s in allowed for a in listed(s["Action"]))
    yield "on all resources only what Lambda needs to connect", all(
        a.startswith("ec2:") for s in allowed if s["Resource"] == "*" for a in listed(s["Action"]))
    mount, = (s for s in allowed if any(a.startswith("elasticfilesystem:") for a in listed(s["Action"])))
    yield "the function only mounts", mount["Action"] == "elasticfilesystem:ClientMount"
    index = [s for s in allowed if any(a.startswith("dynamodb:") for a in listed(s["Action"]))]
    yield "and asks and tells its index, if it has one", len(index) == indexed and all(
        set(s["Action"]) == batches and s["Resource"] == table for s in index)
    yield "it may do nothing besides", {a.split(":")[0] for s in allowed for a in listed(s["Action"])} == {
        "logs", "ec2", "elasticfilesystem"} | ({"dynamodb"} if indexed else set()) | (
        {"kms"} if params["KmsKeyArn"] else set())
    key = [s for s in allowed if any(a.startswith("kms:") for a in listed(s["Action"]))]
    yield "with the key it only decrypts", [(s["Action"], s["Resource"]) for s in key] == (
        [("kms:Decrypt", params["KmsKeyArn"])] if params["KmsKeyArn"] else [])
    yield "one access point of one file system", (
        isinstance(mount["Resource"], dict) and "elasticfilesystem:AccessPointArn" in mount["Condition"]["StringEquals"])

    systems = [r for r in resources.values() if r["Type"] == "AWS::EFS::FileSystem"]
    yield "a file system unless there is one", len(systems) == (not params["FileSystemId"])
    for r in systems:
        denied = {s["Sid"]: s for s in r["Properties"]["FileSystemPolicy"]["Statement"] if s["Effect"] == "Deny"}
        yield "the file system's policy allows nothing", len(denied) == len(
            r["Properties"]["FileSystemPolicy"]["Statement"])
        yield "encrypted at rest", r["Properties"]["Encrypted"] is True
        tls = denied["OnlyOverTls"]
        yield "encrypted in transit", tls["Principal"] == {"AWS": "*"} and tls["Action"] == "*" and tls["Condition"] == {
            "Bool": {"aws:SecureTransport": "false"}}
        write = denied["TheFunctionCannotWrite"]
        yield "writing denied", "Condition" not in write and set(write["Action"]) == {
            "elasticfilesystem:ClientWrite", "elasticfilesystem:ClientRootAccess"}
        yield "kept when the stack goes", r["DeletionPolicy"] == r["UpdateReplacePolicy"] == "Retain"
        yield "two mount targets", len(of("AWS::EFS::MountTarget")) == 2

    tables = [r for r in resources.values() if r["Type"] == "AWS::DynamoDB::Table"]
    yield "a table if there is an index", len(tables) == indexed
    for r in tables:
        p = r["Properties"]
        yield "paid by the request", p["BillingMode"] == "PAY_PER_REQUEST" and "ProvisionedThroughput" not in p
        yield "as the program expects it", (p["AttributeDefinitions"], p["KeySchema"], p["TimeToLiveSpecification"]) == (
            [{"AttributeName": "key", "AttributeType": "B"}], [{"AttributeName": "key", "KeyType": "HASH"}],
            {"AttributeName": "expires", "Enabled": True})
        yield "the key that was given", p.get("SSESpecification") == ({
            "SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": params["KmsKeyArn"]} if params["KmsKeyArn"] else None)
        yield "it goes with the stack", r["DeletionPolicy"] == r["UpdateReplacePolicy"] == "Delete"

    function, = of("AWS::Lambda::Function")
    yield "the function's shape", (function["Architectures"], function["Runtime"], function["Timeout"]) == (
        [params["Architecture"]], "provided.al2023", params["Timeout"])
    first = {"NfsFromFunction", "FileSystemAccess", "FunctionRole", "FunctionLogs"}
    first |= set() if params["FileSystemId"] else {"MountTargetA", "MountTargetB", "AccessPoint"}
    yield "it is made after what its mount needs", first <= needed_by("Function", resources)
    yield "the mount", [c["LocalMountPath"] for c in function["FileSystemConfigs"]] == ["/mnt/efs"]
    yield "the environment", function["Environment"]["Variables"] == {
        "DEDUPE_ROOT": "/mnt/efs", "DEDUPE_STACK": {"Ref": "AWS::StackName"}, "DEDUPE_MAX_MIB": params["MaxMibPerCall"],
        **({"DEDUPE_TENANT_CLAIM": "tenant"} if params["TenantClaim"] else {}),
        **({"DEDUPE_INDEX": {"Fn::Sub": "dynamodb://${IndexTable}"},
            "DEDUPE_INDEX_ID": params["FileSystemId"] or {"Ref": "FileSystem"}} if indexed else {})}
    yield "logs", function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "FunctionLogs"}}
    limit = params["ReservedConcurrency"]
    yield "a limit of concurrent calls", function.get("ReservedConcurrentExecutions") == (limit if limit >= 0 else None)
    yield "environment and logs with the key that was given", {function.get("KmsKeyArn")} | {
        g.get("KmsKeyId") for g in of("AWS::Logs::LogGroup")} == {params["KmsKeyArn"] or None}
    yield "logs end", all("RetentionInDays" in g for g in of("AWS::Logs::LogGroup"))
    alarms = of("AWS::CloudWatch::Alarm")
    failures = {"IndexFailures"} if indexed else set()
    yield "alarms", {a["MetricName"] for a in alarms} == {"Errors", "Throttles", "Duration", "5xx"} | failures
    counted = {(t["MetricNamespace"]["Ref"], t["MetricName"]) for f in of("AWS::Logs::MetricFilter") for t in f["MetricTransformations"]}
    yield "failures of the index are counted", counted == {("AWS::StackName", name) for name in failures}
    # A test in cmd/lambda checks that the function logs this event.
    yield "by their event, not by what a message says", all(
        re.fullmatch(r'\{ \$\.event = "[a-z_]+" \}', f["FilterPattern"]) for f in of("AWS::Logs::MetricFilter"))
    yield "alarms tell", all(("AlarmActions" in a) == bool(params["AlarmTopicArn"]) for a in alarms)


def is_for_jobs(name):
    return name.startswith(("Jobs", "Helper"))


def promises_of_jobs(params, resources):
    """Yields each promise about jobs and whether the resources for these keep it."""

    def of(kind):
        return [r["Properties"] for r in resources.values() if r["Type"] == kind]

    if params["Jobs"] == "off":
        yield "nothing is there", not resources
        return
    arn = {"Fn::GetAtt": ["JobsBucket", "Arn"]}
    inside = {"Fn::Sub": "${JobsBucket.Arn}/*"}
    kept, = (r for r in resources.values() if r["Type"] == "AWS::S3::Bucket")
    bucket = kept["Properties"]
    yield "reports stay when the stack goes", kept["DeletionPolicy"] == kept["UpdateReplacePolicy"] == "Retain"
    yield "a private bucket", all(bucket["PublicAccessBlockConfiguration"].values()) and len(
        bucket["PublicAccessBlockConfiguration"]) == 4 and bucket["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}]
    encrypted, = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    yield "encrypted, with the key that was given", encrypted["ServerSideEncryptionByDefault"] == (
        {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": params["KmsKeyArn"]} if params["KmsKeyArn"] else {"SSEAlgorithm": "AES256"})
    rules = {r["Id"]: r for r in bucket["LifecycleConfiguration"]["Rules"]}
    yield "what jobs leave goes", (rules["jobs"]["Prefix"], rules["jobs"]["ExpirationInDays"]) == ("jobs/", 14)
    yield "reports go later", (rules["reports"]["Prefix"], rules["reports"]["ExpirationInDays"]) == (
        "reports/", params["ReportRetentionDays"])
    yield "and those of the API", (rules["api"]["Prefix"], rules["api"]["ExpirationInDays"]) == (
        "api/reports/", params["ReportRetentionDays"])
    yield "uploads that broke off go", rules["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    policy, = of("AWS::S3::BucketPolicy")
    yield "only over TLS", policy["PolicyDocument"]["Statement"] == [{
        "Sid": "OnlyOverTls", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": [arn, inside],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]

    endpoints = of("AWS::EC2::VPCEndpoint")
    yield "a gateway to S3 in a VPC that is made, none in another", len(endpoints) == (not params["VpcId"])
    for e in endpoints:
        through, = e["PolicyDocument"]["Statement"]
        yield "which is a gateway, for the helpers and their bucket", (
            e["VpcEndpointType"], e["ServiceName"], e["RouteTableIds"], through["Resource"], through["Condition"]) == (
            "Gateway", {"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"}, [{"Ref": "RouteTable"}], [arn, inside],
            {"ArnEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["HelperRole", "Arn"]}}})
    group, = of("AWS::EC2::SecurityGroup")
    nfs, https, *index = group["SecurityGroupEgress"]
    indexed, lists = params["Index"] == "on", (params["S3PrefixListId"], params["DynamoDbPrefixListId"])
    yield "nothing comes in", "SecurityGroupIngress" not in group
    yield "HTTPS to the index goes out, by a rule of its own or that for S3", len(index) == (indexed and any(lists)) and all(
        (e["FromPort"], e["ToPort"], e.get("DestinationPrefixListId", "")) == (443, 443, lists[1]) for e in index)
    yield "no rule twice", len({json.dumps({k: v for k, v in e.items() if k != "Description"}) for e in [https, *index]}) == 1 + len(index)
    yield "NFS and HTTPS to S3 go out", (nfs["FromPort"], nfs["ToPort"], https["FromPort"], https["ToPort"]) == (
        2049, 2049, 443, 443) and "DestinationSecurityGroupId" in nfs
    yield "in a VPC with routes of its own only to S3", not params["VpcId"] or (
        https.get("DestinationPrefixListId") == params["S3PrefixListId"] and "CidrIp" not in https)
    into, = of("AWS::EC2::SecurityGroupIngress")
    yield "the mount targets let the helpers in", (into["FromPort"], into["ToPort"], into["SourceSecurityGroupId"]) == (
        2049, 2049, {"Ref": "HelperSecurityGroup"})

    def allowed(policies):
        """Returns what policies allow, as service:action, and where."""
        for p in policies:
            for s in p["PolicyDocument"]["Statement"]:
                for a in s["Action"] if isinstance(s["Action"], list) else [s["Action"]]:
                    if s["Effect"] == "Allow":
                        yield a, json.dumps(s["Resource"])

    roles = {n: list(allowed(r["Properties"]["Policies"])) for n, r in resources.items() if r["Type"] == "AWS::IAM::Role"}
    roles["HelperRole"] += allowed(of("AWS::IAM::RolePolicy"))
    yield "no managed policies, no wildcard", not any("ManagedPolicyArns" in r for r in of("AWS::IAM::Role")) and not any(
        "*" in a for r in roles.values() for a, _ in r)
    key = {"kms:Decrypt", "kms:GenerateDataKey"} if params["KmsKeyArn"] else set()
    yield "what helpers may do", {a for a, _ in roles["HelperRole"] if not a.startswith("ec2:")} == key | {
        "logs:CreateLogStream", "logs:PutLogEvents", "elasticfilesystem:ClientMount",
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListBucket"} | (
        {"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"} if indexed else set())
    yield "only in its table", all(where == json.dumps({"Fn::GetAtt": ["IndexTable", "Arn"]})
                                   for a, where in roles["HelperRole"] if a.startswith("dynamodb:"))
    yield "they read no reports", all("/reports/" not in where for a, where in roles["HelperRole"] if a == "s3:GetObject")
    yield "what the state machine may do", {a for a, _ in roles["JobsRole"]} == key | {
        "lambda:InvokeFunction", "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts",
        "s3:AbortMultipartUpload", "states:StartExecution", "states:DescribeExecution", "states:StopExecution",
        "states:RedriveExecution"}
    yield "on all resources only what Lambda needs to connect", all(
        a.startswith("ec2:") for r in roles.values() for a, where in r if where == '"*"')

    executions = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-jobs:*"
    may = sorted((a, where) for a, where in roles["JobsFunctionRole"] if not a.startswith(("logs:", "kms:")))
    yield "what the function of the API may do", may == sorted([
        *((f"s3:{a}Object", json.dumps({"Fn::Sub": "${JobsBucket.Arn}/api/*"})) for a in ("Get", "Put", "Delete")),
        *((f"s3:{a}Object", json.dumps([{"Fn::Sub": f"${{JobsBucket.Arn}}/jobs/*/{name}"} for name in ("begin", "cancel")]))
          for a in ("Get", "Put")),
        ("s3:ListBucket", json.dumps(arn)), ("states:StartExecution", json.dumps({"Ref": "JobsStateMachine"})),
        *((f"states:{a}", json.dumps({"Fn::Sub": executions})) for a in ("StopExecution", "ListMapRuns")),
        ("states:DescribeMapRun", json.dumps({"Fn::Sub": executions.replace(":execution:", ":mapRun:").replace("-jobs:*", "-jobs/*")})),
        ("lambda:InvokeFunction", json.dumps({"Fn::GetAtt": ["Helper", "Arn"]}))])
    yield "its key", {a for a, _ in roles["JobsFunctionRole"] if a.startswith("kms:")} == key

    api = resources["JobsFunction"]["Properties"]
    yield "no VPC, no file system", not {"VpcConfig", "FileSystemConfigs"} & api.keys()
    limit = params["ReservedConcurrency"]
    yield "a limit of its calls", api.get("ReservedConcurrentExecutions") == (limit if limit >= 0 else None)
    quota = {"DEDUPE_TENANT_MIB": params["TenantMibPerMonth"]} if params["TenantMibPerMonth"] else {}
    common = {"DEDUPE_JOBS": {"Fn::Sub": "s3://${JobsBucket}"}, "DEDUPE_KEEP_DAYS": params["ReportRetentionDays"], **quota}
    yield "its environment", api["Environment"]["Variables"] == {
        **common, "DEDUPE_JOBS_API": {"Ref": "JobsStateMachine"}, "DEDUPE_JOBS_HELPER": {"Ref": "Helper"},
        "DEDUPE_TENANT_JOBS": params["TenantJobs"],
        **({"DEDUPE_JOBS_CONCURRENCY": params["JobConcurrency"]} if params["JobConcurrency"] > 0 else {}),
        **({"DEDUPE_TENANT_CLAIM": params["TenantClaim"]} if params["TenantClaim"] else {})}
    routes = {r["RouteKey"]: r for r in of("AWS::ApiGatewayV2::Route")}
    yield "its routes", routes.keys() == {r for r in ROUTES if "/jobs" in r}
    wanted = "JWT" if params["JwtIssuer"] else "AWS_IAM"
    scopes = params["JwtScopes"].split(",") if params["JwtScopes"] else None
    yield "which ask for authorization", all(r["AuthorizationType"] == wanted and r.get("AuthorizationScopes") == scopes and (
        "AuthorizerId" in r) == (wanted == "JWT") for r in routes.values())
    yield "only the API and the rule invoke it", sorted(p["Principal"] for p in of("AWS::Lambda::Permission")) == [
        "apigateway.amazonaws.com", "events.amazonaws.com"] and all("SourceArn" in p for p in of("AWS::Lambda::Permission"))
    rule, = of("AWS::Events::Rule")
    yield "the ends of executions are events", rule["EventPattern"]["detail"] == {
        "stateMachineArn": [{"Ref": "JobsStateMachine"}], "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]}

    helper = resources["Helper"]["Properties"]
    yield "one core, fifteen minutes", (helper["MemorySize"], helper["Timeout"], helper["Architectures"]) == (
        1769, 900, [params["Architecture"]])
    limit = params["JobConcurrency"]
    yield "a limit of helpers", helper.get("ReservedConcurrentExecutions") == (limit if limit >= 0 else None)
    yield "the mount", [c["LocalMountPath"] for c in helper["FileSystemConfigs"]] == ["/mnt/efs"]
    yield "the environment", helper["Environment"]["Variables"] == {**common, **(
        {"DEDUPE_INDEX": {"Fn::Sub": "dynamodb://${IndexTable}"},
         "DEDUPE_INDEX_ID": params["FileSystemId"] or {"Ref": "FileSystem"}} if indexed else {})}
    yield "failures of the index are counted where the function's are", [
        (f["LogGroupName"], f["FilterPattern"], [(t["MetricNamespace"], t["MetricName"]) for t in f["MetricTransformations"]])
        for f in of("AWS::Logs::MetricFilter")] == [
        ({"Ref": "HelperLogs"}, '{ $.event = "index_failed" }', [({"Ref": "AWS::StackName"}, "IndexFailures")])] * indexed
    version, = (n for n, r in resources.items() if r["Type"] == "AWS::Lambda::Version")
    machine, = of("AWS::StepFunctions::StateMachine")
    yield "jobs keep the version that they started with", machine["DefinitionSubstitutions"]["HelperArn"] == {"Ref": version}
    yield "standard executions", machine["StateMachineType"] == "STANDARD"
    alarms = of("AWS::CloudWatch::Alarm")
    yield "alarms", {a.get("MetricName", "Errors") for a in alarms} == {"ExecutionsFailed", "ExecutionsTimedOut", "Errors"}
    yield "alarms tell", all(("AlarmActions" in a) == bool(params["AlarmTopicArn"]) for a in alarms)


def findings(*files):
    """Returns what checkov finds. An answer to a finding is in the resource's metadata, with the reason."""
    checkov = [sys.executable, "-m", "checkov.main", "--framework", "cloudformation", "--skip-download", "--quiet", "--compact",
               "--output", "json"]
    for f in files:
        checkov += ["--file", str(f)]
    # It logs that it has no connection, even though it needs none.
    run = subprocess.run(checkov, stdout=subprocess.PIPE, env={**os.environ, "LOG_LEVEL": "CRITICAL"})
    result = json.loads(run.stdout)
    if not result.get("summary", {}).get("passed") or result["summary"]["parsing_errors"]:
        return ["checkov could not read the template"]
    return [f"checkov: {c['check_id']} {c['check_name']}: {c['resource']}" for c in result["results"]["failed_checks"]]


def main(path, directory):
    warnings.simplefilter("error")
    logging.basicConfig(level=logging.WARNING)
    failures = []
    said = logging.Handler(logging.WARNING)
    said.emit = lambda record: failures.append("a log line: " + record.getMessage())
    logging.getLogger().addHandler(said)
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)  # telemetry about itself

    template = yaml_parse(pathlib.Path(path).read_text())
    defaults = {k: p["Default"] for k, p in template["Parameters"].items()}
    out = pathlib.Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    seen, count, files = set(), 0, []
    for name, given in CASES.items():
        params = {**defaults, **given}
        if not obeys_rules(template, params):
            failures.append(f"{name}: refused by the rules")
        result = deploy(template, params, seen)
        files.append(out / f"{name}.json")
        files[-1].write_text(json.dumps(result, indent=1))
        jobs = {n: r for n, r in result["Resources"].items() if is_for_jobs(n)}
        others = {n: r for n, r in result["Resources"].items() if not is_for_jobs(n)}
        for promise, kept in [*promises(params, others), *promises_of_jobs(params, jobs)]:
            count += 1
            if not kept:
                failures.append(f"{name}: not so: {promise}")
    failures += [f"not refused by the rules: {r}" for r in REFUSED if obeys_rules(template, {**defaults, **r})]
    failures += [f"no case where {c} is {v}" for c in template["Conditions"] for v in (True, False) if (c, v) not in seen]

    # Include informational checks.
    for what in [path], [str(f) for f in files]:
        lint = [pathlib.Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--regions",
                "us-east-1", "eu-west-1", "ap-northeast-1", "--", *what]
        if subprocess.run(lint).returncode:
            failures.append("cfn-lint: " + " ".join(what))
    failures += findings(path, out / "key.json", out / "jobs-key.json")

    for f in failures:
        print("deploy/check:", f, file=sys.stderr)
    if not failures:
        print(f"ok  {path}: cfn-lint, checkov and the SAM translator have no warning; {len(CASES)} cases, {count} promises kept")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
