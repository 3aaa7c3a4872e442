import { useQuery } from "@tanstack/react-query";
import { meQuery } from "./queries";

/** Whether who is signed in may do something; what they may not isn't offered. */
export function useMay(): (permission: string) => boolean {
  const { data } = useQuery(meQuery);
  return (permission) => data?.permissions.includes(permission) ?? false;
}
