// Succeeds when the one member of the replica set takes writes and each user can log in. What of that is not there yet it
// makes, so a first start that was cut short is finished by the next check, and a changed password reaches its user.
load("/opt/etl/users.js");
const admin = db.getSiblingDB("admin");
const secret = (name) => fs.readFileSync(`/run/etl/${name}`, "utf8").trim();

function fail(reason) {
  print(reason);
  quit(1);
}

function logsIn(user, password) {
  try {
    return admin.auth(user, secret(password)).ok === 1;
  } catch (error) {
    return false;
  }
}

function startReplicaSet() {
  try {
    rs.status();
  } catch (error) {
    if (error.codeName === "Unauthorized") fail("the password of MongoDB's user root is not MONGO_ROOT_PASSWORD");
    if (error.codeName !== "NotYetInitialized") throw error;
    rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
  }
  for (let left = 100; left > 0 && !db.hello().isWritablePrimary; left--) sleep(100);
  if (!db.hello().isWritablePrimary) fail("the replica set has no primary");
}

function makeRoot() {
  // As long as there is no user, MongoDB lets who comes from its own machine make the first.
  admin.createUser({ user: "root", pwd: secret("mongo_root_password"), roles: ["root"] });
  if (!logsIn("root", "mongo_root_password")) fail("root, just made, can't log in");
}

function setPassword({ name, password, role }) {
  const pwd = secret(password);
  if (admin.getUser(name)) admin.updateUser(name, { pwd });
  else admin.createUser({ user: name, pwd, roles: [{ role, db: "etl" }] });
}

const hasRoot = logsIn("root", "mongo_root_password");
startReplicaSet();
if (!hasRoot) makeRoot();
for (const user of USERS) {
  if (logsIn(user.name, user.password)) continue;
  logsIn("root", "mongo_root_password");
  setPassword(user);
  if (!logsIn(user.name, user.password)) fail(`MongoDB's user ${user.name} can't log in`);
}
